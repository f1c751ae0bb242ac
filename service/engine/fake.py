"""An engine without a network, for tests and for measuring everything but the network.

It answers in the shapes of the real graphs: a keypoint's coordinates are those of the frame's
brightest pixel, so that a swapped or stale frame shows, and each run can be made to take a
chosen time.
"""

import time
from collections.abc import Callable

import numpy as np

from service.engine.base import Tensors, TensorSpec
from service.errors import EngineFailed


class FakeEngine:
    """A pose graph that finds the brightest pixel of (B, H, W, C) frames."""

    engine = "fake:cpu"
    precision = "fp32"

    def __init__(
        self,
        *,
        keypoints: int = 1,
        animals: int = 1,
        batch_seconds: float = 0.0,
        fail_when: Callable[[Tensors], bool] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._keypoints = keypoints
        self._animals = animals
        self._batch_seconds = batch_seconds
        self._fail_when = fail_when
        self._sleep = sleep
        self.inputs = (TensorSpec("frames", np.dtype(np.uint8), (None, None, None, None)),)
        self.outputs = (
            TensorSpec("keypoints", np.dtype(np.float32), (None, animals, keypoints, 3)),
        )
        self.batch_sizes: list[int] = []

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        if self._fail_when is not None and self._fail_when(inputs):
            raise EngineFailed("the fake engine was told to fail on this batch")
        if self._batch_seconds:
            self._sleep(self._batch_seconds)
        frames = inputs["frames"]
        batch, _, width_px, channels = frames.shape
        self.batch_sizes.append(batch)
        brightest = frames.reshape(batch, -1).argmax(axis=1) // channels
        answer = np.empty((batch, self._animals, self._keypoints, 3), np.float32)
        answer[..., 0] = (brightest % width_px)[:, None, None]
        answer[..., 1] = (brightest // width_px)[:, None, None]
        answer[..., 2] = 1.0
        return {"keypoints": answer}

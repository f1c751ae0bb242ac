"""Answers of a made-up model on made-up recordings."""

from collections.abc import Callable

import numpy as np
import pytest

from service.bundle import BehaviorSpec
from training.behavior.figures import Answers


@pytest.fixture
def make_spec() -> Callable[..., BehaviorSpec]:
    def make(*behaviors: str, exclusive: bool, min_bout_frames: int = 1) -> BehaviorSpec:
        return BehaviorSpec(
            behaviors=behaviors,
            exclusive=exclusive,
            thresholds=(0.5,) * len(behaviors),
            min_bout_frames=(min_bout_frames,) * len(behaviors),
            frame_rate_hz=10.0,
            flow_frames=1,
            past_frames=1,
            future_frames=0,
            feature_size=4,
            state_size=4,
        )

    return make


@pytest.fixture
def answered() -> Callable[..., Answers]:
    """Answers out of rows of text: `#` present, `.` absent, `?` not labelled or not answered."""

    def make(
        name: str,
        labelled: list[str],
        predicted: list[str],
        clips: tuple[tuple[int, int], ...] | None = None,
    ) -> Answers:
        numbers = {"#": 1, ".": 0, "?": -1}
        sure = {"#": 0.9, ".": 0.1, "?": np.nan}
        labels = np.array([[numbers[letter] for letter in row] for row in labelled], np.int8).T
        values = np.array([[sure[letter] for letter in row] for row in predicted], np.float32).T
        return Answers(name, values, labels, clips or ((0, len(labels)),))

    return make

"""What a bundle's graphs take: arrays of zeros in the shapes that the service sends."""

import numpy as np

from service.bundle import Manifest
from service.engine.base import Tensors

BATCH_SIZES = (1, 2, 4, 8)
"""Numbers of rows that a batch of the server has; engines are built for each of them."""


def example_inputs(manifest: Manifest, graph: str, batch_size: int) -> Tensors:
    """Return the inputs of one graph of a bundle, all zeros, with `batch_size` rows.

    Engines are warmed up with them and built for their shapes. The sequence graph is given one
    frame at a time (causal) or a whole window.
    """
    size = (manifest.input.height_px, manifest.input.width_px, manifest.input.channels)
    behavior = manifest.behavior
    if behavior is None:
        return {"frames": np.zeros((batch_size, *size), np.uint8)}
    if graph == "flow":
        shape = (batch_size, behavior.flow_input_frames, *size)
        return {"frames": np.zeros(shape, np.uint8)}
    if graph == "features":
        several = behavior.feature_input_frames
        frames = (several, *size) if several > 1 else size
        flows = (behavior.flow_frames, 2, size[0] // 2, size[1] // 2)
        return {
            "frames": np.zeros((batch_size, *frames), np.uint8),
            "flows": np.zeros((batch_size, *flows), np.float32),
        }
    if behavior.sequence == "window":
        length = behavior.sequence_past_frames + 1 + behavior.sequence_future_frames
        return {
            "features": np.zeros((batch_size, length, behavior.feature_size), np.float32),
            "valid": np.ones((batch_size, length), np.float32),
        }
    return {
        "features": np.zeros((batch_size, 1, behavior.feature_size), np.float32),
        "state": np.zeros((batch_size, behavior.state_size), np.float32),
    }

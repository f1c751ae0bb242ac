"""From keypoints in px of the model input to poses in px of the frame as sent."""

import numpy as np
from numpy.typing import NDArray

from service.preprocess import Placement
from service.values import Poses


def poses_in_frame(keypoints: NDArray[np.float32], placement: Placement) -> Poses:
    """Undo the resize and the crop.

    Args:
        keypoints: (N, K, 3) x, y in px of the model input and confidence in [0, 1].
        placement: where the frame lies in the model input.
    """
    return Poses(
        keypoints_xy=placement.to_frame(keypoints[..., :2]),
        confidence=np.clip(keypoints[..., 2], 0.0, 1.0),
    )

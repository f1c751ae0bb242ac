"""Takes over what an earlier run learned, also where the keypoints are others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.pose.model import PoseNetwork

_ROWS_PER_KEYPOINT = {
    "scores": 1,
    "offsets": 2,
    "skip_scores": 1,
    "skip_offsets": 2,
    "intermediate_scores": 1,
}
"""The layers of a head whose output channels belong to keypoints."""


def take_over(
    network: PoseNetwork,
    keypoints: Sequence[str],
    earlier: PoseNetwork,
    earlier_keypoints: Sequence[str],
) -> tuple[str, ...]:
    """Copy all weights of `earlier` into `network`, those of the last layers by keypoint name.

    Args:
        network: of the same backbone and head.
        keypoints: its names in the order of axis K.
        earlier: the trained network.
        earlier_keypoints: its names.

    Returns:
        The keypoints that were taken over; others keep the start of a new network.
    """
    shared = tuple(name for name in keypoints if name in earlier_keypoints)
    target, source = network.state_dict(), earlier.state_dict()
    with torch.no_grad():
        for name, value in target.items():
            rows = _ROWS_PER_KEYPOINT.get(name.split(".")[1]) if name.startswith("head.") else None
            if rows is None:
                value.copy_(source[name])
                continue
            layer = network.get_submodule(name.rsplit(".", 1)[0])
            axis = 1 if isinstance(layer, nn.ConvTranspose2d) and value.ndim == 4 else 0
            for keypoint in shared:
                _copy_rows(
                    value.movedim(axis, 0),
                    keypoints.index(keypoint),
                    source[name].movedim(axis, 0),
                    earlier_keypoints.index(keypoint),
                    rows,
                )
    return shared


def _copy_rows(target: Tensor, to: int, source: Tensor, start: int, rows: int) -> None:
    target[to * rows : (to + 1) * rows].copy_(source[start * rows : (start + 1) * rows])

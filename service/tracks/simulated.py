"""Reads the exact truth of a simulated recording, so that predictions can be held against it."""

import zipfile
from pathlib import Path

import msgspec
import numpy as np

from service.errors import InvalidRequest
from service.simulation.files import TruthFile
from service.tracks.track import Track


def read_truth(path: Path) -> Track:
    """Read `NAME_truth.npz`, with `NAME_truth.json` beside it, as `ethostream simulate` writes it.

    The confidence is 1 where a keypoint can be seen and 0 where it is hidden.

    Raises:
        InvalidRequest: one of the two is missing or is not what that command writes.
    """
    try:
        header = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=TruthFile)
        with np.load(path) as arrays:
            positions, visible = arrays["keypoints_xy"], arrays["visible"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        raise InvalidRequest(
            f"{path} and the .json beside it are not the truth of a simulated recording ({error}); "
            "give NAME_truth.npz of `ethostream simulate`"
        ) from error
    return Track(
        source=path,
        model="truth",
        keypoints=header.keypoint_names,
        animals=positions.shape[1],
        frame_rate_hz=header.frame_rate_hz,
        frame_index=np.arange(len(positions), dtype=np.int64),
        keypoints_xy=positions.astype(np.float32),
        confidence=visible.astype(np.float32),
    )

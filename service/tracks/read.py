"""Reads the predictions of a video from the files of ethostream, DeepLabCut and SLEAP."""

from pathlib import Path

import numpy as np
import tables
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results import VideoResults, read_results
from service.results.rows import row_times_s
from service.tracks.deeplabcut import read_csv, read_h5
from service.tracks.extras import sleap_reader
from service.tracks.simulated import read_truth
from service.tracks.stored import is_stored_track, read_stored_track
from service.tracks.track import Track

_UNEVEN = 0.1
"""Share of the usual step between frames from which one counts as uneven."""
_ROUNDING_S = 0.001
"""Containers round the times of an even rate, the coarsest ones to ms."""


def read_tracks(path: Path, model: str = "") -> Track:
    """Read what was predicted of one video.

    Args:
        path: a record (.parquet) of `ethostream analyze`, a Parquet file of `write_tracks`,
            predictions of DeepLabCut (.h5, .csv), or predictions of SLEAP (.slp, or its analysis
            .h5; these need the analysis extra), or the truth of `ethostream simulate` (.npz).
        model: name of the pose bundle; needed where several answered in one record.

    Raises:
        InvalidRequest: the file is missing, is none of these, or holds no pose.
    """
    if not path.is_file():
        raise InvalidRequest(f"there is no file {path}; name a file of predictions")
    match path.suffix.lower():
        case ".parquet":
            return read_stored_track(path) if is_stored_track(path) else _read_record(path, model)
        case ".csv":
            return read_csv(path)
        case ".h5" | ".hdf5":
            return sleap_reader()(path) if _is_sleap_analysis(path) else read_h5(path)
        case ".slp":
            return sleap_reader()(path)
        case ".npz":
            return read_truth(path)
    raise InvalidRequest(
        f"{path} has no ending that predictions have; give a .parquet of ethostream, a .h5 or .csv "
        "of DeepLabCut, or a .slp or analysis .h5 of SLEAP"
    )


def _read_record(path: Path, model: str) -> Track:
    results = read_results(path)
    answers = [pair for pair in results.pose_answers() if model in ("", pair[0].name)]
    if len(answers) != 1:
        names = ", ".join(str(one.key) for one in results.provenance.pose_bundles) or "no one"
        raise InvalidRequest(
            f"{path} holds poses of {names}; name one model with --model"
            if answers or model
            else f"{path} holds no poses; analyze the video with a pose bundle"
        )
    answered, poses = answers[0]
    assert answered.pose is not None
    several = answered.pose.max_animals > 1
    return Track(
        source=path,
        model=str(answered.key),
        keypoints=answered.pose.keypoints,
        animals=answered.pose.max_animals,
        frame_rate_hz=results.frame_rate_hz,
        frame_index=results.frame_index,
        keypoints_xy=poses.keypoints_xy,
        confidence=poses.confidence,
        skeleton=answered.pose.skeleton,
        unique_keypoints=answered.pose.unique_keypoints,
        rows="detections" if several else "animals",
        recorded_s=_uneven_times_s(results),
    )


def _uneven_times_s(results: VideoResults) -> NDArray[np.float64] | None:
    """(T,) the times of a recording of a variable rate; None where the frame rate tells them."""
    times_s, rate_hz = row_times_s(results), results.frame_rate_hz
    if not rate_hz or len(times_s) < 2 or not (np.diff(times_s) > 0).all():
        return None  # NaN in pictures, equal ones in damaged files
    late_s = times_s - results.frame_index / rate_hz
    slack_s = max(_UNEVEN / rate_hz, 1.01 * _ROUNDING_S)
    is_even = (np.abs(np.diff(late_s)) <= slack_s).all() and np.ptp(late_s) <= 1 / rate_hz
    return None if is_even else times_s


def _is_sleap_analysis(path: Path) -> bool:
    """SLEAP's analysis files hold the positions in a plain array named tracks."""
    try:
        with tables.open_file(str(path)) as file:
            return {"tracks", "node_names"} <= set(file.root._v_children)
    except (OSError, tables.HDF5ExtError) as error:
        raise InvalidRequest(
            f"{path} is not a whole HDF5 file ({error}); copy or write it again"
        ) from error

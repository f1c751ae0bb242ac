"""Frames, times, points and files of one video's results, as the formats of others count them."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults
from service.values import PoseColumns

Number = TypeVar("Number", bound=np.generic)


def row_times_s(results: VideoResults) -> NDArray[np.float64]:
    """Return (T,) presentation times, s, from the stream's zero.

    A frame rate that was asked for replaces them: frame number / rate. NaN where nobody says when
    a frame was: pictures, and streams without times and rate.
    """
    asked_hz = results.provenance.options.frame_rate_hz
    if asked_hz:
        return results.frame_index / asked_hz
    if len(results) > 1 and not results.pts_ns.any():
        return np.full(len(results), np.nan)
    return results.times_s


def row_edges_s(results: VideoResults) -> NDArray[np.float64]:
    """Return (T + 1,) the times of the rows, and when the last one ends, s.

    It ends one frame of the frame rate after its begin, or else of the median distance.
    """
    times_s = row_times_s(results)
    if not len(times_s):
        return np.zeros(1)
    step_s = 1 / results.frame_rate_hz if results.frame_rate_hz else 0.0
    if not step_s and len(times_s) > 1:
        step_s = float(np.median(np.diff(times_s)))
    return np.append(times_s, times_s[-1] + step_s)


def by_frame(values: NDArray[np.float32], frame_index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Put (T, ...) rows where their frame numbers say: row n of the answer is frame n.

    Returns:
        (last frame + 1, ...); NaN in frames without a row, such as those before the first one.
    """
    count = int(frame_index.max(initial=-1)) + 1
    if count == len(values):
        return values
    placed = np.full((count, *values.shape[1:]), np.nan, np.float32)
    placed[frame_index] = values
    return placed


def owned_points(
    bundle: AnsweredBundle, poses: PoseColumns
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (T, N, K, 2) px and (T, N, K) confidence, NaN where a point does not exist.

    Such are those without a position, and the keypoints that exist once in the scene in every row
    but the first.
    """
    assert bundle.pose is not None
    known = np.asarray(np.isfinite(poses.keypoints_xy).all(axis=-1))
    unique = [name in bundle.pose.unique_keypoints for name in bundle.pose.keypoints]
    known[:, 1:, unique] = False
    positions = np.where(known[..., None], poses.keypoints_xy, np.float32(np.nan))
    return positions, np.where(known, poses.confidence, np.float32(np.nan))


def recording_files(results: VideoResults, video: Path | None) -> list[Path]:
    """Return the file of the video, or those of all pictures.

    Args:
        results: of the video.
        video: its path, of pictures that of their folder; None: the results lie beside it.
    """
    pictures = results.provenance.source.pictures
    if pictures:
        return [(video or Path()) / name for name in pictures]
    return [video or Path(results.provenance.source.name)]

"""Reads and writes files of SLEAP (.slp; analysis .h5 is read) through sleap-io."""

from pathlib import Path

import numpy as np
import sleap_io

from service.errors import InvalidRequest
from service.results.sleap import DETECTIONS, Instances, are_detections, write_predictions
from service.tracks.track import Rows, Track


def read_sleap(path: Path) -> Track:
    """Read the first video of a .slp file or of an analysis file.

    Corrected poses take the place of the predicted ones and have the confidence 1. Poses without
    a track are read in the order of the file, so that rows are no animals over time.

    Raises:
        InvalidRequest: sleap-io cannot read the file, or it holds no pose.
    """
    try:
        if path.suffix.lower() == ".slp":
            labels = sleap_io.load_slp(str(path), open_videos=False)
        else:
            labels = sleap_io.load_analysis_h5(str(path))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InvalidRequest(
            f"{path} is not a file that sleap-io reads ({error}); export it from SLEAP again"
        ) from error
    tracked = bool(labels.tracks) and any(
        one.track is not None for frame in labels.labeled_frames for one in frame.instances
    )
    if not labels.labeled_frames or not labels.videos:
        raise InvalidRequest(f"{path} holds no poses; predict some in SLEAP first")
    values = labels.numpy(untracked=not tracked, return_confidence=True)
    positions = values[..., :2].astype(np.float32)
    confidence = np.nan_to_num(values[..., 2].astype(np.float32), nan=1.0)
    confidence[~np.isfinite(positions).all(axis=-1)] = np.nan
    skeleton = labels.skeletons[0]
    animals = positions.shape[1]
    rows: Rows = "animals" if tracked or animals == 1 else "poses"
    if animals > 1 and are_detections(labels.provenance):
        rows, tracked = "detections", False
    return Track(
        source=path,
        model="SLEAP",
        keypoints=tuple(skeleton.node_names),
        animals=animals,
        frame_rate_hz=float(getattr(labels.videos[0], "fps", None) or 0.0),
        frame_index=np.arange(len(positions), dtype=np.int64),
        keypoints_xy=positions,
        confidence=confidence,
        skeleton=tuple((edge.source.name, edge.destination.name) for edge in skeleton.edges),
        animal_names=tuple(one.name for one in labels.tracks) if tracked else (),
        rows=rows,
    )


def write_sleap(track: Track, path: Path, video: Path) -> None:
    """Write a track as predictions in a .slp file, which SLEAP and sleap-io open.

    Args:
        track: its rows are instances, with a track each where they are animals over time.
        path: file to write, .slp.
        video: the recording, as the file refers to it; it need not exist here.
    """
    linked = track.rows == "animals" and track.animals > 1
    instances = Instances(
        keypoints=track.keypoints,
        skeleton=track.skeleton,
        frame_index=track.frame_index,
        keypoints_xy=track.keypoints_xy,
        confidence=track.confidence,
        tracks=track.names if linked else (),
        provenance=DETECTIONS if track.rows == "detections" else {},
    )
    write_predictions(instances, sleap_io.Video(filename=str(video), open_backend=False), path)

"""Poses in SLEAP's files: predictions (.slp) through sleap-io, and the analysis file (.h5).

sleap-io makes a Python object of every animal of every frame: 7 s and 0.7 GiB for an hour of video.
So it writes the video, the skeleton and the tracks of a .slp, with empty tables of its own, and
the rows are filled in from arrays: 0.4 s. It has no writer of analysis files from arrays;
they are written in the layout that SLEAP documents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import sleap_io
from numpy.typing import NDArray
from sleap_io.io.slp import InstanceType

from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle
from service.results.rows import by_frame, owned_points, recording_files
from service.results.video_results import VideoResults
from service.values import PoseColumns

DETECTIONS = {"rows": "detections"}
"""Provenance of a file whose rows are not grouped into animals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Predicted animals of a video, as SLEAP counts them; NaN where there is no position."""

    keypoints: Sequence[str]
    """K names."""
    skeleton: Sequence[tuple[str, str]]
    """Pairs of their names."""
    frame_index: NDArray[np.int64]
    """(T,) rising."""
    keypoints_xy: NDArray[np.float32]
    """(T, N, K, 2) px."""
    confidence: NDArray[np.float32]
    """(T, N, K) in [0, 1]."""
    tracks: Sequence[str] = ()
    """N names; empty where nobody says that an animal of two frames is the same."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where they come from."""


def write_slp(
    results: VideoResults,
    bundle: AnsweredBundle,
    poses: PoseColumns,
    path: Path,
    video: Path | None = None,
) -> None:
    """Write the poses of one bundle as predictions of SLEAP.

    Args:
        results: of one video.
        bundle: that answered.
        poses: its answers. Each row of a bundle for several animals is an instance without a
            track.
        path: file to write, .slp.
        video: the recording, as the file refers to it; None: by its name, beside the file.
    """
    files = [str(one) for one in recording_files(results, video)]
    metadata = _metadata(results)
    if results.files:
        metadata |= {"filename": files[0], "filenames": files}
    recording = sleap_io.Video(
        filename=files if results.files else files[0], open_backend=False, backend_metadata=metadata
    )
    write_predictions(_instances(results, bundle, poses), recording, path)


def write_predictions(instances: Instances, recording: sleap_io.Video, path: Path) -> None:
    """Write predicted instances in a .slp file, which SLEAP and sleap-io open.

    An instance holds at least one position; frames without one are left out.

    Args:
        instances: what was predicted.
        recording: the video, as the file refers to it; it need not exist here.
        path: file to write, .slp.
    """
    labels = sleap_io.Labels(
        videos=[recording],
        skeletons=[_skeleton(instances)],
        tracks=[sleap_io.Track(name=name) for name in instances.tracks],
        provenance=dict(instances.provenance),
    )
    with replacing(path) as unfinished:
        labels.save(str(unfinished), format="slp", embed=False, verbose=False)
        with h5py.File(unfinished, "r+") as file:
            for name, columns in _tables(instances).items():
                empty = file[name]
                rows = np.zeros(len(next(iter(columns.values()))), empty.dtype)
                for column, values in columns.items():
                    rows[column] = values
                del file[name]
                file.create_dataset(name, data=rows)


def write_analysis(
    results: VideoResults,
    bundle: AnsweredBundle,
    poses: PoseColumns,
    path: Path,
    video: Path | None = None,
) -> None:
    """Write the poses of one bundle as SLEAP's analysis file, from frame 0 to the last row's.

    Args:
        results: of one video.
        bundle: that answered.
        poses: its answers.
        path: file to write, .analysis.h5.
        video: the recording, as the file refers to it; None: by its name.
    """
    instances = _instances(results, bundle, poses)
    positions = by_frame(instances.keypoints_xy, instances.frame_index)
    confidence = by_frame(instances.confidence, instances.frame_index)
    scores = _scores(confidence)
    animals = positions.shape[1]
    places = [tuple(map(instances.keypoints.index, bone)) for bone in instances.skeleton]
    arrays = {
        "tracks": (positions.transpose(1, 3, 2, 0), ("track", "xy", "node", "frame")),
        "track_occupancy": (np.isfinite(scores).astype(np.uint8), ("frame", "track")),
        "point_scores": (confidence.transpose(1, 2, 0), ("track", "node", "frame")),
        "instance_scores": (scores.T, ("track", "frame")),
        "tracking_scores": (np.full_like(scores.T, np.nan), ("track", "frame")),
    }
    names = [f"animal{one + 1}" for one in range(animals)] if animals > 1 else []
    with replacing(path) as unfinished, h5py.File(unfinished, "w") as file:
        for name, (values, axes) in arrays.items():
            stored = file.create_dataset(name, data=values, compression="gzip", shuffle=True)
            stored.attrs["dims"] = json.dumps(axes)
        file["track_names"] = np.array([name.encode() for name in names], np.bytes_)
        file["node_names"] = np.array([name.encode() for name in instances.keypoints])
        file["edge_names"] = np.array(
            [[end.encode() for end in bone] for bone in instances.skeleton], np.bytes_
        ).reshape(-1, 2)
        file["edge_inds"] = np.array(places, np.int64).reshape(-1, 2)
        file["labels_path"] = ""
        file["video_path"] = str(recording_files(results, video)[0])
        file["video_ind"] = 0
        file["provenance"] = json.dumps(dict(instances.provenance))
        file.attrs["video_backend_metadata"] = json.dumps(_metadata(results))
        file.attrs["format"] = "analysis"
        file.attrs["preset"] = "matlab"  # sleap-io's name for the order of SLEAP's axes


def are_detections(provenance: Mapping[str, object]) -> bool:
    """Say whether a file was written here of rows that are not grouped into animals."""
    return provenance.items() >= DETECTIONS.items()


def _instances(results: VideoResults, bundle: AnsweredBundle, poses: PoseColumns) -> Instances:
    assert bundle.pose is not None
    positions, confidence = owned_points(bundle, poses)
    provenance = {
        "ethostream": results.provenance.ethostream,
        "bundle": str(bundle.key),
        "manifest_sha256": bundle.manifest_sha256,
        "engine": f"{bundle.engine} {bundle.precision}",
        "video_sha256": results.provenance.source.sha256,
    }
    if bundle.pose.max_animals > 1:
        provenance |= DETECTIONS
    return Instances(
        keypoints=bundle.pose.keypoints,
        skeleton=bundle.pose.skeleton,
        frame_index=results.frame_index,
        keypoints_xy=positions,
        confidence=confidence,
        provenance=provenance,
    )


def _metadata(results: VideoResults) -> dict[str, object]:
    """What SLEAP asks of a video that is not at hand."""
    info = results.provenance.info
    frames = max(info.claimed_frames, int(results.frame_index.max(initial=-1)) + 1)
    return {
        "type": "ImageVideo" if results.files else "MediaVideo",
        "shape": [frames, info.height_px, info.width_px, 3],
        "grayscale": False,
        "fps": results.frame_rate_hz or None,
    }


def _skeleton(instances: Instances) -> sleap_io.Skeleton:
    return sleap_io.Skeleton(
        nodes=list(instances.keypoints), edges=[list(bone) for bone in instances.skeleton]
    )


def _scores(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., N) mean confidence of the points of each animal; NaN where it has none."""
    known = np.isfinite(confidence)
    total = np.where(known, confidence, 0).sum(axis=-1, dtype=np.float64)
    count = known.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _tables(instances: Instances) -> dict[str, dict[str, Any]]:
    """Columns of the tables of a .slp file, by table; a number stands in every row."""
    known = np.asarray(np.isfinite(instances.keypoints_xy).all(axis=-1))
    confidence = np.where(known, np.nan_to_num(instances.confidence), np.float32(np.nan))
    scores = _scores(confidence)
    rows, animals = np.nonzero(known.any(axis=-1))
    keypoints = len(instances.keypoints)
    shown, first, counts = np.unique(rows, return_index=True, return_counts=True)
    numbers = np.arange(len(rows))
    points = instances.keypoints_xy[rows, animals].reshape(-1, 2)
    is_known = known[rows, animals].reshape(-1)
    return {
        "frames": {
            "frame_id": np.arange(len(shown)),
            "frame_idx": instances.frame_index[shown],
            "instance_id_start": first,
            "instance_id_end": first + counts,
        },
        "instances": {
            "instance_id": numbers,
            "instance_type": int(InstanceType.PREDICTED),
            "frame_id": np.repeat(np.arange(len(shown)), counts),
            "track": animals if instances.tracks else -1,
            "from_predicted": -1,
            "score": scores[rows, animals],
            "point_id_start": numbers * keypoints,
            "point_id_end": (numbers + 1) * keypoints,
        },
        "pred_points": {
            "x": np.where(is_known, points[:, 0], np.nan),
            "y": np.where(is_known, points[:, 1], np.nan),
            "visible": is_known,
            "score": np.nan_to_num(confidence[rows, animals].reshape(-1)),
        },
    }

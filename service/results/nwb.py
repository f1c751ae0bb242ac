"""One video's results in a file of Neurodata Without Borders, with the extension ndx-pose.

What stands where, with BUNDLE `_<bundle>_v<version>` only where several bundles of a kind answered,
and ANIMAL `_animalN` only where a bundle answers for several:

acquisition/source_video                            the recording, by its path
processing/behavior/frames                          the frames' numbers, times and status
processing/behavior/Skeletons
processing/behavior/PoseEstimationBUNDLEANIMAL      a PoseEstimationSeries a keypoint
processing/behavior/ProbabilitiesBUNDLE             a TimeSeries a behavior
intervals/boutsBUNDLE                               a row a bout, after the bout rule
notes                                               the provenance, as JSON

All series have the times of `frames` and hold NaN in frames without an answer.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorData
from ndx_pose import PoseEstimation, PoseEstimationSeries, Skeleton, Skeletons
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import ImageSeries

from service.results.atomic import replacing
from service.results.bouts import bout_rows
from service.results.provenance import AnsweredBundle
from service.results.rows import owned_points, recording_files, row_times_s
from service.results.video_results import VideoResults
from service.values import BehaviorColumns, FrameStatus, PoseColumns

_ORIGIN = "(0, 0) is the upper left corner of the video's frame; x grows to the right, y downwards"
_UNTIMED = "The recording has no times: frame n stands at n s."


def write_nwb(
    results: VideoResults, path: Path, video: Path | None = None, home: Path | None = None
) -> None:
    """Write everything of one video.

    NWB wants the time at which the session began; it is that of the file's last change, which is
    all that is known. The identifier is the SHA-256 of the provenance, so that it is equal for
    equal work.

    Args:
        results: of one video.
        path: file to write, .nwb.
        video: the recording, which the file refers to relative to itself; None: by its name.
        home: folder that the file is moved to afterwards; None: it stays.
    """
    provenance = msgspec.json.encode(results.provenance)
    source = results.provenance.source
    file = NWBFile(
        session_description=f"Animals in {source.name}, analyzed by ethostream",
        identifier=hashlib.sha256(provenance).hexdigest(),
        session_start_time=datetime.fromtimestamp(source.modified_ns / 1e9, tz=UTC),
        notes=provenance.decode(),
    )
    behavior = file.create_processing_module("behavior", "poses and behavior of each frame")
    frames = _frames(results)
    behavior.add(frames)
    recording = _recording(results, home or path.parent, video)
    file.add_acquisition(recording)
    answers = results.pose_answers()
    skeletons = [_skeleton(one, _ending(one, len(answers))) for one, _ in answers]
    if skeletons:
        behavior.add(Skeletons(skeletons=skeletons))
    for (bundle, poses), skeleton in zip(answers, skeletons, strict=True):
        ending = _ending(bundle, len(answers))
        for one in _poses(results, bundle, poses, ending, frames, skeleton, recording):
            behavior.add(one)
    labelled = results.behavior_answers()
    for bundle, found in labelled:
        ending = _ending(bundle, len(labelled))
        behavior.add(_probabilities(bundle, found, ending, frames))
        file.add_time_intervals(_bouts(results, bundle, found, ending))
    with replacing(path) as unfinished, NWBHDF5IO(unfinished, "w") as out:
        out.write(file)


def _ending(bundle: AnsweredBundle, bundles: int) -> str:
    return f"_{bundle.name}_v{bundle.version}" if bundles > 1 else ""


def _times_s(results: VideoResults) -> NDArray[np.float64]:
    times_s = row_times_s(results)
    return results.frame_index.astype(np.float64) if np.isnan(times_s).any() else times_s


def _frames(results: VideoResults) -> TimeSeries:
    untimed = bool(np.isnan(row_times_s(results)).any())
    return TimeSeries(
        name="frames",
        description="numbers of the frames in the file, from 0; control is what decoding gave",
        data=_packed(results.frame_index),
        unit="frame",
        timestamps=_packed(_times_s(results)),
        control=_packed(results.status),
        control_description=["unknown", *(one.name.lower() for one in FrameStatus)],
        comments=_UNTIMED if untimed else "no comments",
    )


def _recording(results: VideoResults, folder: Path, video: Path | None) -> ImageSeries:
    files = [_relative(one, folder) for one in recording_files(results, video)]
    info = results.provenance.info
    index, times_s = results.frame_index, _times_s(results)
    if not len(index) or index[0] > 0:  # the series begins with the file, not with the first row
        index, times_s = np.append(0, index), np.append(0.0, times_s)
    return ImageSeries(
        name="source_video",
        description="the recording; times of frames that were not analyzed are interpolated",
        external_file=files,
        format="external",
        starting_frame=list(range(len(files))),
        dimension=[info.width_px, info.height_px],
        timestamps=_packed(np.interp(np.arange(index[-1] + 1), index, times_s)),
    )


def _relative(path: Path, folder: Path) -> str:
    """Path of a file from a folder, which stays right when both are moved together."""
    if not path.is_absolute():
        return path.as_posix()
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # on another drive of Windows
        return path.as_posix()


def _skeleton(bundle: AnsweredBundle, ending: str) -> Skeleton:
    assert bundle.pose is not None
    places = [list(map(bundle.pose.keypoints.index, bone)) for bone in bundle.pose.skeleton]
    return Skeleton(
        name=_named(f"skeleton{ending}"),
        nodes=list(bundle.pose.keypoints),
        edges=np.array(places, np.uint8).reshape(-1, 2),
    )


def _poses(
    results: VideoResults,
    bundle: AnsweredBundle,
    poses: PoseColumns,
    ending: str,
    frames: TimeSeries,
    skeleton: Skeleton,
    recording: ImageSeries,
) -> list[PoseEstimation]:
    assert bundle.pose is not None
    positions, confidence = owned_points(bundle, poses)
    several = bundle.pose.max_animals > 1
    computed = f"{bundle.key}, computed by {bundle.engine} in {bundle.precision}"
    return [
        PoseEstimation(
            name=_named(f"PoseEstimation{ending}{f'_animal{animal + 1}' if several else ''}"),
            description=f"{computed}; of each keypoint the place that comes {animal + 1}. by "
            "confidence, not grouped into animals"
            if several
            else computed,
            pose_estimation_series=[
                PoseEstimationSeries(
                    name=_named(name),
                    description=f"place of {name} in the video's frame",
                    data=_packed(positions[:, animal, place]),
                    unit="pixels",
                    reference_frame=_ORIGIN,
                    timestamps=frames,
                    confidence=_packed(confidence[:, animal, place]),
                    confidence_definition="as the model tells it, in [0, 1]",
                )
                for place, name in enumerate(bundle.pose.keypoints)
            ],
            scorer=str(bundle.key),
            source_software="ethostream",
            source_software_version=results.provenance.ethostream,
            skeleton=skeleton,
            source_video=recording,
        )
        for animal in range(bundle.pose.max_animals)
    ]


def _probabilities(
    bundle: AnsweredBundle, found: BehaviorColumns, ending: str, frames: TimeSeries
) -> BehavioralTimeSeries:
    assert bundle.behavior is not None
    return BehavioralTimeSeries(
        name=_named(f"Probabilities{ending}"),
        time_series=[
            TimeSeries(
                name=_named(name),
                description=f"probability of {name} by {bundle.key}; present from {threshold:g} on",
                data=_packed(found.probabilities[:, place]),
                unit="probability",
                timestamps=frames,
            )
            for place, (name, threshold) in enumerate(
                zip(bundle.behavior.behaviors, bundle.behavior.thresholds, strict=True)
            )
        ],
    )


def _bouts(
    results: VideoResults, bundle: AnsweredBundle, found: BehaviorColumns, ending: str
) -> TimeIntervals:
    bouts = bout_rows(results, bundle, found)
    onsets = np.array([one.onset_frame for one in bouts], np.int64)
    offsets = np.array([one.offset_frame for one in bouts], np.int64)
    starts_s = np.array([one.start_s for one in bouts], np.float64)
    stops_s = np.array([one.stop_s for one in bouts], np.float64)
    means = np.array([one.mean_probability for one in bouts], np.float64)
    highest = np.array([one.highest_probability for one in bouts], np.float64)
    columns: list[tuple[str, str, NDArray[Any]]] = [
        # Without times, as in `_times_s`.
        ("start_time", "begin, s", np.where(np.isnan(starts_s), onsets, starts_s)),
        ("stop_time", "end, s", np.where(np.isnan(stops_s), offsets, stops_s)),
        ("label", "behavior", np.array([one.behavior for one in bouts], np.str_)),
        ("onset_frame", "number of the first frame", onsets),
        ("offset_frame", "number of the first frame after it", offsets),
        ("mean_probability", "over the frames of the bout", means),
        ("highest_probability", "over the frames of the bout", highest),
    ]
    return TimeIntervals(
        name=_named(f"bouts{ending}"),
        description=f"bouts by {bundle.key} after the bout rule; background is left out",
        columns=[VectorData(name=name, description=why, data=data) for name, why, data in columns],
        colnames=[name for name, _, _ in columns],
    )


def _named(name: str) -> str:
    return name.replace("/", "_").replace(":", "_")  # NWB keeps both for paths


def _packed(values: NDArray[Any] | Sequence[Any]) -> H5DataIO:
    return H5DataIO(np.ascontiguousarray(values), compression="gzip", shuffle=True)

"""Writes what a network said of the picked frames, for a person to correct.

In a DeepLabCut project that is labeled-data/<video>/machinelabels-iter<i>.csv and .h5 (key
`df_with_missing`), which napari-deeplabcut opens beside the pictures: columns scorer, individuals
(in projects with several animals), bodyparts and coords (x, y, likelihood), rows `labeled-data`,
video, picture. For SLEAP it is a .slp file that refers to the frames of the video itself.
CollectedData files, which people made, are never touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.atomic import replacing
from service.tracks.track import Track
from service.tracks.write import scorer
from training.data.deeplabcut import read_pair
from training.data.deeplabcut_config import ProjectConfig
from training.data.label_table import LabelTable
from training.data.labels import match_animals
from training.data.write_deeplabcut import make_table, write_pair
from training.frames.extras import analysis_module
from training.frames.pictures import free_path

_SKELETON_NAME = "animal"


@dataclass(frozen=True, slots=True)
class MachineFrame:
    """What the network said of one picked frame."""

    frame_index: int
    picture: str
    """File name of its picture."""
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px of the picture, in the order of the track."""
    confidence: NDArray[np.float32]
    """(N, K) in [0, 1]."""


class MachineTable:
    """The machine labels of one video of a DeepLabCut project, those that are there included.

    Animals go by their names where the project has these, else in turn.
    """

    def __init__(self, folder: Path, project: ProjectConfig, track: Track) -> None:
        """Read what is there and check that it, the project and the track go together.

        Body parts of the project that the track does not have are left empty; keypoints that the
        project does not have are left out.

        Args:
            folder: labeled-data/<video>.
            project: names animals, body parts and iteration.
            track: names the model and its keypoints.

        Raises:
            InvalidRequest: track and project share no keypoint, the track has more animals than
                the project, or the labels that are there are damaged or of other body parts.
        """
        _check_fit(project, track)
        self._stem = folder / f"machinelabels-iter{project.iteration}"
        self._project = project
        self._track = track
        self._there = read_pair(folder, self._stem.name)
        if self._there is not None:
            _check_columns(self._there, self._make([]))

    def write(self, frames: Sequence[MachineFrame]) -> tuple[Path, Path]:
        """Add rows for `frames`; rows that are there already stay as they are.

        Returns:
            The paths of the CSV and of the HDF5 file.
        """
        table = self._make(frames)
        if self._there is not None:
            # One scorer a file: the header keeps the model that was first.
            known = {row.file_name for row in self._there.rows}
            new = [row for row in table.rows if row.file_name not in known]
            table = replace(table, scorer=self._there.scorer, rows=(*self._there.rows, *new))
        rows = sorted(table.rows, key=lambda row: row.file_name)
        return write_pair(replace(table, rows=tuple(rows)))

    def _make(self, frames: Sequence[MachineFrame]) -> LabelTable:
        project = self._project
        shape = max(1, len(project.animals)), len(project.keypoints)
        slots = match_animals(self._track.names, project.animals or self._track.names)
        shared = [name for name in project.keypoints if name in self._track.keypoints]
        rows, likelihood = [], []
        for frame in frames:
            points, confidence = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
            for name in shared:
                here, there = project.keypoints.index(name), self._track.keypoints.index(name)
                # What exists once stands in row 0, whoever that is.
                rows_of = slots if name not in project.unique_keypoints else [0]
                points[rows_of, here] = frame.keypoints_xy[: len(rows_of), there]
                confidence[rows_of, here] = frame.confidence[: len(rows_of), there]
            rows.append((f"labeled-data/{self._stem.parent.name}/{frame.picture}", points))
            likelihood.append(confidence)
        return make_table(
            self._stem,
            scorer(self._track),
            project.keypoints,
            project.animals,
            project.unique_keypoints,
            rows,
            likelihood,
        )


def write_sleap(path: Path, video: Path, track: Track, frames: Sequence[MachineFrame]) -> Path:
    """Write a .slp file with one predicted instance for each animal of each frame.

    Where the predictions are of tracked animals, each gets a track in the file; where they are
    single detections, the skeleton has no edges.

    Args:
        path: of the file; where it exists, the first free `name-2.slp`, `name-3.slp`, … is taken.
        video: that the frames are of.
        track: names the keypoints and the skeleton.
        frames: what to write.

    Returns:
        The file that was written.

    Raises:
        EngineUnavailable: sleap-io is not installed.
    """
    sio = sleap_io()
    grouped = track.animals == 1 or track.rows != "detections"
    edges = [
        (one, two)
        for one, two in track.skeleton
        if grouped and one in track.keypoints and two in track.keypoints
    ]
    skeleton = sio.Skeleton(nodes=list(track.keypoints), edges=edges, name=_SKELETON_NAME)
    source = sio.Video.from_filename(str(video.absolute()))
    tracks = [sio.Track(name) for name in track.names]
    labelled = []
    for frame in frames:
        instances = [
            sio.PredictedInstance.from_numpy(
                points_data=frame.keypoints_xy[slot].astype(np.float64),
                point_scores=np.nan_to_num(frame.confidence[slot]).astype(np.float64),
                score=float(np.nanmean(frame.confidence[slot])),
                skeleton=skeleton,
                track=tracks[slot] if track.rows == "animals" and track.animals > 1 else None,
            )
            for slot in range(track.animals)
            if np.isfinite(frame.keypoints_xy[slot]).any()
        ]
        labelled.append(
            sio.LabeledFrame(video=source, frame_idx=frame.frame_index, instances=instances)
        )
    path = free_path(path)
    with replacing(path) as unfinished:
        sio.Labels(labelled).save(str(unfinished), format="slp")
    return path


def sleap_io() -> Any:
    """Return the module sleap_io.

    Raises:
        EngineUnavailable: it is not installed; the message says how to install it.
    """
    return analysis_module("sleap_io", "--format sleap (deeplabcut does without)")


def _check_fit(project: ProjectConfig, track: Track) -> None:
    if not set(project.keypoints) & set(track.keypoints):
        raise InvalidRequest(
            f"{track.source} has the keypoints {', '.join(track.keypoints)}, and the project "
            f"{project.directory} has {', '.join(project.keypoints)}: none in common; correct "
            "bodyparts in config.yaml, or name the right project"
        )
    if track.animals > max(1, len(project.animals)):
        raise InvalidRequest(
            f"{track.source} has {track.animals} animals, and the project {project.directory} has "
            f"{max(1, len(project.animals))}; add individuals to its config.yaml, or use a bundle "
            "for fewer animals"
        )


def _check_columns(there: LabelTable, new: LabelTable) -> None:
    if (there.columns, there.has_likelihood) != (new.columns, new.has_likelihood):
        raise InvalidRequest(
            f"{there.path} holds labels of other body parts or animals than config.yaml names, or "
            "no likelihoods; move it away, or merge it first and raise the iteration"
        )

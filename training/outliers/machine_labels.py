"""Writes what a network said of the picked frames, for a person to correct.

In a DeepLabCut project that is labeled-data/<video>/machinelabels-iter<i>.csv and .h5 (key
`df_with_missing`), which napari-deeplabcut opens beside the pictures: columns scorer, individuals
(in projects with several animals), bodyparts and coords (x, y, likelihood), rows `labeled-data`,
video, picture. For SLEAP it is a .slp file that refers to the frames of the video itself.
CollectedData files, which people made, are never touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tables
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.results.atomic import replacing
from service.tracks.track import Track
from service.tracks.write import scorer
from training.frames.extras import analysis_module
from training.frames.pictures import free_path
from training.frames.project import SINGLE, FrameProject

_KEY = "df_with_missing"
_COORDS = ("x", "y", "likelihood")
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
    """The machine labels of one video of a DeepLabCut project, those that are there included."""

    def __init__(self, folder: Path, project: FrameProject, track: Track) -> None:
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
        self._folder = folder
        self._path = folder / f"machinelabels-iter{project.iteration}.h5"
        self._columns, self._sources = _columns(project, track)
        self._there = _read(self._path, self._columns) if self._path.is_file() else None

    def write(self, frames: Sequence[MachineFrame]) -> tuple[Path, Path]:
        """Add rows for `frames`; rows that are there already stay as they are.

        Returns:
            The paths of the CSV and of the HDF5 file.
        """
        values = np.full((len(frames), len(self._columns)), np.nan)
        for row, frame in enumerate(frames):
            table = np.concatenate([frame.keypoints_xy, frame.confidence[..., None]], axis=-1)
            for column, source in enumerate(self._sources):
                values[row, column] = np.nan if source is None else table[source]
        index = pd.MultiIndex.from_tuples(
            [("labeled-data", self._folder.name, frame.picture) for frame in frames]
        )
        rows = pd.DataFrame(values, index=index, columns=self._columns)
        if self._there is not None:
            # One scorer a file: the header keeps the model that was first.
            rows.columns = self._there.columns
            rows = pd.concat([self._there, rows])
        rows = rows[~rows.index.duplicated(keep="first")].sort_index()
        csv_path = self._path.with_suffix(".csv")
        with replacing(self._path) as unfinished:
            rows.to_hdf(unfinished, key=_KEY, mode="w")
        with replacing(csv_path) as unfinished:
            rows.to_csv(unfinished)
        return csv_path, self._path


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
    source = sio.Video.from_filename(str(video.resolve()))
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


def _columns(
    project: FrameProject, track: Track
) -> tuple[pd.MultiIndex, list[tuple[int, int, int] | None]]:
    """Columns of the table, and for each the slot, keypoint and coordinate that it shows."""
    if not set(project.keypoints) & set(track.keypoints):
        raise InvalidRequest(
            f"{track.source} has the keypoints {', '.join(track.keypoints)}, and the project "
            f"{project.directory} has {', '.join(project.keypoints) or 'none'}: none in common; "
            "correct bodyparts in config.yaml, or name the right project"
        )
    if track.animals > max(1, len(project.animals)):
        raise InvalidRequest(
            f"{track.source} has {track.animals} animals, and the project {project.directory} has "
            f"{max(1, len(project.animals))}; add individuals to its config.yaml, or use a bundle "
            "for fewer animals"
        )
    shared = [name for name in project.keypoints if name not in project.unique_keypoints]
    slots = [(name, slot, shared) for slot, name in enumerate(project.animals)]
    if project.unique_keypoints:
        slots.append((SINGLE, 0, list(project.unique_keypoints)))
    labels: list[tuple[str, ...]] = []
    sources: list[tuple[int, int, int] | None] = []
    for animal, slot, names in slots or [("", 0, shared)]:
        for name in names:
            known = name in track.keypoints and slot < track.animals
            place = track.keypoints.index(name) if known else -1
            for number, coord in enumerate(_COORDS):
                middle = (animal,) if project.animals else ()
                labels.append((scorer(track), *middle, name, coord))
                sources.append((slot, place, number) if known else None)
    levels = ["scorer", *(["individuals"] if project.animals else []), "bodyparts", "coords"]
    return pd.MultiIndex.from_tuples(labels, names=levels), sources


def _read(path: Path, columns: pd.MultiIndex) -> pd.DataFrame:
    """Read the table at `path`, which must have these columns but for the scorer."""
    try:
        there = pd.read_hdf(path, _KEY)
    except (KeyError, OSError, ValueError, tables.HDF5ExtError) as error:
        raise InvalidRequest(
            f"{path} is no table of machine labels ({error}); restore it or move it away"
        ) from error
    assert isinstance(there, pd.DataFrame)
    if [name[1:] for name in there.columns] != [name[1:] for name in columns]:
        raise InvalidRequest(
            f"{path} holds labels of other body parts or animals than config.yaml names; move it "
            "away, or merge it first and raise the iteration"
        )
    if there.index.nlevels == 1:
        there.index = pd.MultiIndex.from_tuples(
            [tuple(str(name).replace("\\", "/").split("/")) for name in there.index]
        )
    return there

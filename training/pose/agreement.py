"""How far two people's labels of the same frames are apart, beside the network's error."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.deeplabcut import read_project as read_deeplabcut
from training.data.frames import Example, keypoint_indices
from training.data.labels import InvalidLabels, LabelledFrame
from training.data.projects import read_projects
from training.pose.metrics import error_figures, match_points
from training.pose.predictions import PosePredictions


def human_figures(
    examples: Sequence[Example], found: PosePredictions, keypoints: Sequence[str], second: Path
) -> dict[str, object]:
    """Compare a second label set with the first, and the network on the same points.

    Args:
        examples: frames with the first labels.
        found: what the network says of them.
        keypoints: names on axis K.
        second: another project of the same frames (by video folder and picture); or a label file
            CollectedData_<scorer> in a project, of which all files of that scorer are read.

    Returns:
        Of all points that both labelled: `frames`, the figures of `error_figures` for the
        distance between the two labels, `network_mean_error_px` (network against the first
        labels), `ratio` (network over human), and `per_keypoint`.

    Raises:
        InvalidLabels: the second set cannot be read or shares no labelled point.
        InvalidConfig: it lacks a keypoint.
    """
    labelled, frames = _read(second)
    places = list(keypoint_indices(labelled, keypoints))
    shared = [index for index, one in enumerate(examples) if one.name in frames]
    if not shared:
        raise InvalidLabels(
            f"{second} labels none of these {len(examples)} frames, such as {examples[0].name}; "
            "name labels of the same pictures in video folders of the same names"
        )
    apart = np.full(found.labelled_xy.shape[:3], np.nan, np.float32)
    for index in shared:
        again = frames[examples[index].name].keypoints_xy[None, :, places]
        sure = np.asarray(np.isfinite(again).all(axis=3), np.float32)
        apart[index] = match_points(again, sure, found.labelled_xy[index : index + 1]).errors_px[0]
    if not np.isfinite(apart).any():
        raise InvalidLabels(f"{second} and the data have no labelled point in common")
    errors = np.where(np.isfinite(apart), found.errors_px(), np.nan)
    return {
        "labels": str(second),
        "frames": len(shared),
        **_beside(apart, errors),
        "per_keypoint": {
            name: _beside(apart[..., place], errors[..., place])
            for place, name in enumerate(keypoints)
        },
    }


def _read(second: Path) -> tuple[tuple[str, ...], dict[str, LabelledFrame]]:
    """Keypoints and frames of the second labels."""
    prefix = "CollectedData_"
    is_scorer = second.is_file() and second.parent.parent.name == "labeled-data"
    if not is_scorer or not second.stem.startswith(prefix):
        data = read_projects([second])
        return data.keypoints, data.frames
    videos = second.parent.parent
    project = read_deeplabcut(videos.parent, scorer=second.stem.removeprefix(prefix))
    # A video that this person did not label would be read with the only labels that it has.
    theirs = {path.parent.name for path in videos.glob(f"*/{second.stem}.*")}
    frames = {one.name: one for one in project.frames if one.name.split("/")[0] in theirs}
    return project.keypoints, frames


def _beside(
    apart: NDArray[np.float32], errors: NDArray[np.floating]
) -> dict[str, float | int | None]:
    human, network = error_figures(apart), error_figures(errors)["mean_error_px"]
    between = human["mean_error_px"]
    ratio = network / between if network is not None and between else None
    return {**human, "network_mean_error_px": network, "ratio": ratio}

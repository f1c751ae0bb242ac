"""The truth of a simulated recording, and how far results are from it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.behavior_statistics import Agreement, agreement, chance_f1
from service.errors import InvalidVideo
from service.results import AnsweredBundle, VideoResults
from service.results.video_results import kept_bouts, known_frames
from service.simulation.files import TruthFile
from service.values import BehaviorColumns, PoseColumns


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened in T frames."""

    keypoint_names: tuple[str, ...]
    keypoints_xy: NDArray[np.float32]
    """(T, N, K, 2) px."""
    visible: NDArray[np.bool_]
    """(T, N, K)."""
    behavior_names: tuple[str, ...]
    """Without background."""
    behaviors: NDArray[np.bool_]
    """(T, C)."""


@dataclass(frozen=True, slots=True)
class PoseScore:
    """Distances between found and true keypoints; hidden ones do not count."""

    mean_px: float
    median_px: float
    by_keypoint: dict[str, float]
    """Mean, px."""
    confident_share: float
    """Share of the points that are at or above the confidence cut-off, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class BehaviorScore:
    """Agreement of kept bouts with the truth, in frames that have an answer."""

    macro_f1: float
    by_behavior: dict[str, float]
    chance_f1: float
    """Macro F1 of the same bouts at random times."""


def read_truth(video: Path) -> Truth | None:
    """Read the truth that `simulate` wrote beside a video; None where there is none.

    Raises:
        InvalidVideo: the files are damaged.
    """
    described = video.with_name(f"{video.stem}_truth.json")
    arrays = video.with_name(f"{video.stem}_truth.npz")
    if not (described.is_file() and arrays.is_file()):
        return None
    try:
        names = msgspec.json.decode(described.read_bytes(), type=TruthFile)
        with np.load(arrays) as stored:
            return Truth(
                keypoint_names=names.keypoint_names,
                keypoints_xy=stored["keypoints_xy"],
                visible=stored["visible"],
                behavior_names=names.behavior_names,
                behaviors=stored["behaviors"].astype(np.bool_),
            )
    except (msgspec.MsgspecError, KeyError, ValueError, OSError) as error:
        raise InvalidVideo(
            f"the truth beside {video} cannot be read ({error}); simulate it again"
        ) from error


def score_pose(
    truth: Truth, results: VideoResults, bundle: AnsweredBundle, poses: PoseColumns
) -> PoseScore | None:
    """Compare one pose bundle with the truth; None where names or animals do not match."""
    assert bundle.pose is not None
    names = [name for name in bundle.pose.keypoints if name in truth.keypoint_names]
    if not names or bundle.pose.max_animals != 1 or truth.keypoints_xy.shape[1] != 1:
        return None
    found_at = [bundle.pose.keypoints.index(name) for name in names]
    true_at = [truth.keypoint_names.index(name) for name in names]
    rows = results.frame_index
    found_xy = poses.keypoints_xy[:, 0][:, found_at]
    distances = np.linalg.norm(found_xy - truth.keypoints_xy[rows, 0][:, true_at], axis=-1)
    counted = truth.visible[rows, 0][:, true_at] & ~np.isnan(distances)
    if not counted.any():
        return None
    confident = poses.confidence[:, 0][:, found_at] >= bundle.pose.confidence_cutoff
    return PoseScore(
        mean_px=float(distances[counted].mean()),
        median_px=float(np.median(distances[counted])),
        by_keypoint={
            name: float(distances[counted[:, place], place].mean())
            for place, name in enumerate(names)
            if counted[:, place].any()
        },
        confident_share=float(confident[counted].mean()),
    )


def true_behaviors(
    truth: Truth, results: VideoResults, bundle: AnsweredBundle
) -> NDArray[np.bool_] | None:
    """Return (T, C) truth in the rows and columns of a bundle; None where it has others."""
    assert bundle.behavior is not None
    names = bundle.behavior.behaviors
    if any(name not in (*truth.behavior_names, "background") for name in names):
        return None
    rows = truth.behaviors[results.frame_index]
    columns = {name: rows[:, place] for place, name in enumerate(truth.behavior_names)}
    columns["background"] = np.asarray(~rows.any(axis=1))
    return np.stack([columns[name] for name in names], axis=1)


def score_behavior(
    truth: Truth, results: VideoResults, bundle: AnsweredBundle, found: BehaviorColumns
) -> BehaviorScore | None:
    """Compare one behavior bundle with the truth; None where it answers other behaviors."""
    assert bundle.behavior is not None
    labelled, known = true_behaviors(truth, results, bundle), known_frames(found)
    if labelled is None or not known.any():
        return None
    labelled, kept = labelled[known], kept_bouts(bundle.behavior, found)[known]
    figures: Agreement = agreement(labelled, kept)
    return BehaviorScore(
        macro_f1=figures.macro_f1,
        by_behavior={
            name: float(value)
            for name, value in zip(bundle.behavior.behaviors, figures.f1, strict=True)
        },
        chance_f1=chance_f1([labelled], [kept]),
    )

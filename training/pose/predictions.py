"""What a pose graph says of labelled frames, beside their labels, and the figures of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.engine import Engine
from service.errors import InvalidConfig
from service.pose import poses_in_frame
from service.preprocess import to_model_input
from training.data.frames import Example
from training.pose.metrics import (
    Matches,
    body_lengths_px,
    detection_figures,
    error_figures,
    match_points,
    oks_precision_recall,
    pck,
)

PCK_PX = (2.0, 5.0, 10.0, 20.0)
PCK_BODY_SHARES = (0.05, 0.1, 0.2)
_MATCH_BODY_SHARE = 0.2
"""Radius of a match where none is given, as a share of the mean body length."""
_MATCH_RADIUS_PX = 20.0
"""The same where the labels tell no body length."""
_BATCH_FRAMES = 8


@dataclass(frozen=True, slots=True)
class PosePredictions:
    """What a graph says of F labelled frames: M found rows against N labelled animals."""

    keypoints_xy: NDArray[np.float32]
    """(F, M, K, 2) px of the frame."""
    confidence: NDArray[np.float32]
    """(F, M, K) in [0, 1]."""
    labelled_xy: NDArray[np.float32]
    """(F, N, K, 2) px of the frame; NaN where not labelled."""

    def match(self) -> Matches:
        """Assign found rows to labelled points; see `training.pose.metrics.match_points`."""
        return match_points(self.keypoints_xy, self.confidence, self.labelled_xy)

    def errors_px(self) -> NDArray[np.float32]:
        """Euclidean distances (F, N, K) in px of the frame; NaN where not labelled or no row."""
        return self.match().errors_px


@dataclass(frozen=True, slots=True)
class FigureOptions:
    """Which figures are wanted beside the usual ones."""

    cutoffs: tuple[float, ...] = ()
    """More confidence cut-offs at which errors are told."""
    body: tuple[str, str] | None = None
    """Keypoints whose distance is the body length; None takes the longer side of the box around
    an animal's labels."""
    match_radius_px: float | None = None
    """Within which a found point is that of an animal; None takes a fifth of the body length."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        wrong = [cutoff for cutoff in self.cutoffs if not 0 <= cutoff <= 1]
        if wrong:
            raise InvalidConfig(f"the cut-off is {wrong[0]:g}; give confidences from 0 to 1")
        if self.match_radius_px is not None and not self.match_radius_px > 0:
            raise InvalidConfig(
                f"the match radius is {self.match_radius_px:g} px; give more than 0 px"
            )


def predict(engine: Engine, examples: Sequence[Example], spec: InputSpec) -> PosePredictions:
    """Run a pose graph on whole frames.

    Args:
        engine: the loaded graph, with K keypoints.
        examples: at least one frame, each with N animals and K keypoints.
        spec: the graph's input.
    """
    keypoints_xy, confidence = [], []
    for start in range(0, len(examples), _BATCH_FRAMES):
        chunk = examples[start : start + _BATCH_FRAMES]
        inputs, placements = zip(
            *(to_model_input(example.pixels, spec) for example in chunk), strict=True
        )
        answers = engine.run({"frames": np.stack(inputs)})["keypoints"].astype(np.float32)
        for answer, placement in zip(answers, placements, strict=True):
            poses = poses_in_frame(answer, placement)
            keypoints_xy.append(poses.keypoints_xy)
            confidence.append(poses.confidence)
    return PosePredictions(
        keypoints_xy=np.stack(keypoints_xy),
        confidence=np.stack(confidence),
        labelled_xy=np.stack([example.keypoints_xy for example in examples]),
    )


def summarize(
    found: PosePredictions,
    keypoints: Sequence[str],
    confidence_cutoff: float,
    options: FigureOptions | None = None,
) -> dict[str, object]:
    """Return the figures of predictions, in px of the frame.

    Args:
        found: predictions beside labels.
        keypoints: names on axis K.
        confidence_cutoff: from which a point is confident.
        options: what else is wanted.

    Returns:
        Those of `error_figures`; `confident_share`, `confident_mean_error_px` and
        `confident_rmse_px` of the points at or above the cut-off; `pck_px` and `pck_body`
        (shares of labelled points within px, and within shares of `body_length_px`); `oks_map` and
        `oks_mar` where a row is an animal (M is 1); `detections` where there are several rows or
        animals (see `detection_figures`); `at_cutoff` where more cut-offs are wanted;
        `per_keypoint` with the first two groups for each. What is not defined is None.

    Raises:
        InvalidConfig: the body is named by a keypoint that is not there.
    """
    chosen = options or FigureOptions()
    matches = found.match()
    lengths = body_lengths_px(found.labelled_xy, _ends(chosen.body, keypoints))
    known = lengths[np.isfinite(lengths)]
    length_px = float(known.mean()) if known.size else None
    several = max(found.keypoints_xy.shape[1], found.labelled_xy.shape[1]) > 1
    missed = matches.labelled & (matches.rows < 0)
    errors_px = np.where(missed, np.inf, matches.errors_px)
    figures: dict[str, object] = {
        **_point_figures(matches, confidence_cutoff),
        "pck_px": {f"{limit:g}": pck(errors_px, limit) for limit in PCK_PX},
        "pck_body": {
            f"{share:g}": pck(errors_px, share * lengths[..., None]) for share in PCK_BODY_SHARES
        },
        "body_length_px": length_px,
    }
    if found.keypoints_xy.shape[1] == 1:
        figures |= oks_precision_recall(found.keypoints_xy, found.confidence, found.labelled_xy)
    if several:
        figures["detections"] = _detections(found, keypoints, confidence_cutoff, chosen, length_px)
    if chosen.cutoffs:
        figures["at_cutoff"] = {
            f"{cutoff:g}": _confident(matches, cutoff) for cutoff in chosen.cutoffs
        }
    figures["per_keypoint"] = {
        name: _point_figures(_of_keypoint(matches, place), confidence_cutoff)
        for place, name in enumerate(keypoints)
    }
    return figures


def _point_figures(matches: Matches, cutoff: float) -> dict[str, object]:
    sure = _confident(matches, cutoff)
    return {
        **error_figures(matches.errors_px),
        "confident_share": sure["share"],
        "confident_mean_error_px": sure["mean_error_px"],
        "confident_rmse_px": sure["rmse_px"],
    }


def _confident(matches: Matches, cutoff: float) -> dict[str, float | int | None]:
    """Figures of the points at or above the cut-off, and their share of the labelled ones."""
    sure = np.where(matches.confidence >= cutoff, matches.errors_px, np.nan)
    figures = error_figures(sure)
    labelled, points = int(matches.labelled.sum()), figures["points"]
    share = points / labelled if labelled and points is not None else None
    return {**figures, "share": share}


def _of_keypoint(matches: Matches, place: int) -> Matches:
    one = slice(place, place + 1)
    return Matches(
        errors_px=matches.errors_px[..., one],
        confidence=matches.confidence[..., one],
        rows=matches.rows[..., one],
        labelled=matches.labelled[..., one],
    )


def _detections(
    found: PosePredictions,
    keypoints: Sequence[str],
    cutoff: float,
    options: FigureOptions,
    length_px: float | None,
) -> dict[str, object]:
    radius_px = options.match_radius_px or (
        _MATCH_RADIUS_PX if length_px is None else _MATCH_BODY_SHARE * length_px
    )
    counted = detection_figures(
        found.keypoints_xy,
        found.confidence,
        found.labelled_xy,
        radius_px=radius_px,
        cutoff=cutoff,
    )
    per_keypoint = {name: counted[str(place)] for place, name in enumerate(keypoints)}
    return {
        "radius_px": radius_px,
        "cutoff": cutoff,
        **counted["all"],
        "per_keypoint": per_keypoint,
    }


def _ends(body: tuple[str, str] | None, keypoints: Sequence[str]) -> tuple[int, int] | None:
    if body is None:
        return None
    unknown = [name for name in body if name not in keypoints]
    if unknown:
        raise InvalidConfig(
            f"the body is measured at {unknown[0]}, but the keypoints are {', '.join(keypoints)}"
        )
    return keypoints.index(body[0]), keypoints.index(body[1])

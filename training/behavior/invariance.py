"""How little answers depend on where an animal is and where it heads: F1 on changed recordings.

All frames of a recording are moved, turned or mirrored alike, and a model should find the same
behaviors in them (Bohnslav et al. 2021, eLife 10:e63377, Figure 3 and its supplement 12).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.bundle import BehaviorSpec
from service.drawing.colors import behavior_color, fraction, series_color
from service.errors import InvalidConfig
from training.behavior.figures import Prediction, from_logits, measure
from training.data.behavior_frames import Footage


@dataclass(frozen=True, slots=True)
class Change:
    """One view of a recording by another camera: mirrored first, then turned, then moved."""

    name: str
    shift_px: tuple[float, float] = (0.0, 0.0)
    """To the right and down, px of the model input."""
    rotation_degrees: float = 0.0
    """Clockwise around the center of the picture."""
    is_mirrored: bool = False
    """Left and right change places."""
    is_flipped: bool = False
    """Up and down change places."""

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (T, H, W, C) uint8 of the same shape; margins repeat the border."""
        result = frames[:, :, ::-1] if self.is_mirrored else frames
        result = result[:, ::-1] if self.is_flipped else result
        result = np.ascontiguousarray(result)
        if not self.rotation_degrees and not any(self.shift_px):
            return result
        height_px, width_px = frames.shape[1:3]
        center = ((width_px - 1) / 2, (height_px - 1) / 2)
        matrix = cv2.getRotationMatrix2D(center, -self.rotation_degrees, 1.0)
        matrix[:, 2] += self.shift_px
        warped = [
            cv2.warpAffine(
                frame,
                matrix,
                (width_px, height_px),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ).reshape(frame.shape)
            for frame in result
        ]
        return np.stack(warped) if warped else result


def standard_changes(width_px: int, height_px: int) -> tuple[Change, ...]:
    """Return shifts by a tenth of the picture, turns, and mirrorings, for a model input size.

    Turns that are no half turn lose the corners of pictures that are not square.
    """
    across_px, down_px = round(width_px / 10), round(height_px / 10)
    shifts = (
        Change(f"{across_px} px left", shift_px=(-across_px, 0)),
        Change(f"{across_px} px right", shift_px=(across_px, 0)),
        Change(f"{down_px} px up", shift_px=(0, -down_px)),
        Change(f"{down_px} px down", shift_px=(0, down_px)),
    )
    turns = tuple(
        Change(f"turned {degrees}°", rotation_degrees=degrees) for degrees in (10, 45, 90, 180, 270)
    )
    return (
        *shifts,
        *turns,
        Change("left-right mirrored", is_mirrored=True),
        Change("up-down mirrored", is_flipped=True),
    )


@dataclass(frozen=True, slots=True)
class ChangedFigures:
    """What a model reaches on changed recordings."""

    name: str
    """Of the change; `unchanged` for the recordings as they are."""
    macro_f1: float
    """NaN where no behavior has an F1."""
    f1: NDArray[np.float64]
    """(C,) NaN where undefined."""
    equal_share: float
    """Share of the known frames whose predicted behaviors are those of the unchanged ones."""


@dataclass(frozen=True, slots=True)
class Invariance:
    """Figures of the unchanged recordings and of each change."""

    behaviors: tuple[str, ...]
    unchanged: ChangedFigures
    changed: tuple[ChangedFigures, ...]

    def as_dict(self) -> dict[str, object]:
        """Return macro F1, its loss and the F1 of each behavior by change; None is undefined."""
        return {
            one.name: {
                "macro_f1": _number(one.macro_f1),
                "macro_f1_change": _number(one.macro_f1 - self.unchanged.macro_f1),
                "equal_share": one.equal_share,
                "f1": {
                    name: _number(value) for name, value in zip(self.behaviors, one.f1, strict=True)
                },
            }
            for one in (self.unchanged, *self.changed)
        }


def measure_invariance(
    predict: Callable[[Footage], Prediction],
    footage: Sequence[Footage],
    spec: BehaviorSpec,
    changes: Sequence[Change] | None = None,
) -> Invariance:
    """Predict recordings as they are and after each change, and compare with their labels.

    Args:
        predict: answers one recording, such as `training.behavior.evaluate.predict` with graphs.
        footage: labelled recordings, of one size.
        spec: of the model.
        changes: None takes `standard_changes` of the footage's size.

    Raises:
        InvalidConfig: there is no recording, or no frame is both labelled and answered.
    """
    if not footage:
        raise InvalidConfig("there is no recording to change; name one at least")
    if changes is None:
        height_px, width_px = footage[0].frames.shape[1:3]
        changes = standard_changes(width_px, height_px)
    reference: NDArray[np.bool_] | None = None
    found = []
    for change in (Change("unchanged"), *changes):
        answers = from_logits(
            [predict(replace(one, frames=change.apply(one.frames))) for one in footage],
            exclusive=spec.exclusive,
        )
        match = measure(answers, spec, shuffles=0).match
        shown = np.concatenate([one.shown(spec)[one.known] for one in answers])
        reference = shown if reference is None else reference
        same = float((shown == reference).all(axis=1).mean())
        found.append(ChangedFigures(change.name, match.macro_f1, match.f1, same))
    return Invariance(spec.behaviors, found[0], tuple(found[1:]))


def draw_invariance(found: Invariance) -> Figure:
    """Draw the macro F1 of each change as a bar and the F1 of each behavior as a dot."""
    rows = (found.unchanged, *found.changed)
    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    colors = [fraction(series_color(0)), *[(0.78, 0.81, 0.86)] * len(found.changed)]
    axes.barh(places, np.nan_to_num([one.macro_f1 for one in rows]), 0.7, color=colors)
    for column, name in enumerate(found.behaviors):
        color = fraction(behavior_color(found.behaviors, column))
        values = [one.f1[column] for one in rows]
        axes.plot(values, places, "o", ms=5, c=color, mec="white", label=name.replace("_", " "))
    axes.axvline(np.nan_to_num(found.unchanged.macro_f1), c="black", lw=0.8, ls=":")
    axes.set_yticks(places, [one.name for one in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("F1 (bar: macro; dotted: unchanged)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

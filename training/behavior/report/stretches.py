"""Ethograms of an evaluation: whole recordings, and the stretches that went best and worst."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.behavior.figures import Answers, BehaviorFigures, SecondLabels
from training.behavior.report.ethogram import ethogram

STRETCH_S = 10.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some consecutive frames of a recording."""

    recording: int
    """Its number among the recordings."""
    first: int
    end: int
    """First frame after it."""
    right: int
    """Entries of named behaviors that are labelled and predicted."""
    wrong: int
    """Entries of named behaviors in which the two differ."""

    @property
    def balance(self) -> int:
        """Entries that are right less those that are wrong."""
        return self.right - self.wrong


def extreme_stretches(
    answers: Sequence[Answers], figures: BehaviorFigures, *, count: int = 3
) -> tuple[list[Stretch], list[Stretch]]:
    """Return the worst and the best stretches of 10 s, those that went worst and best first.

    Recordings are cut into stretches one after another, so that none overlaps another. The worst
    have the most wrong entries, and some; the best the most right ones less the wrong, and some.
    """
    frames = max(1, round(STRETCH_S * figures.spec.frame_rate_hz))
    found: list[Stretch] = []
    for place, one in enumerate(answers):
        truth = (one.labels == 1)[:, figures.named]
        claims = one.kept(figures.spec)[:, figures.named]
        known = one.known[:, None]
        right = (truth & claims & known).sum(axis=1)
        wrong = ((truth != claims) & known).sum(axis=1)
        for first in range(0, len(truth), frames):
            part = slice(first, min(first + frames, len(truth)))
            found.append(
                Stretch(
                    place, part.start, part.stop, int(right[part].sum()), int(wrong[part].sum())
                )
            )
    worst = sorted((one for one in found if one.wrong), key=lambda one: -one.wrong)[:count]
    best = sorted((one for one in found if one.balance > 0), key=lambda one: -one.balance)
    return worst, [one for one in best if one not in worst][:count]


def stretch_ethogram(
    answers: Sequence[Answers],
    figures: BehaviorFigures,
    stretch: Stretch,
    second: SecondLabels | None = None,
) -> Figure:
    """Draw one stretch."""
    one = answers[stretch.recording]
    title = (
        f"{one.name}, frames {stretch.first} to {stretch.end - 1}: {stretch.wrong} entries wrong"
    )
    return _draw(one, figures, second, (stretch.first, stretch.end), title)


def recording_ethograms(
    answers: Sequence[Answers],
    figures: BehaviorFigures,
    *,
    second: SecondLabels | None = None,
    most: int,
) -> Iterator[tuple[str, Figure]]:
    """Draw whole recordings, at most `most`, those of low macro F1 first; name and picture."""
    by_name = {one.name: one for one in answers}
    measured = [one for one in figures.recordings if one.match is not None]

    def quality(place: int) -> float:
        match = measured[place].match
        return float(np.nan_to_num(match.macro_f1 if match else np.nan, nan=2.0))

    for place in sorted(range(len(measured)), key=quality)[:most]:
        one, value = by_name[measured[place].name], quality(place)
        text = f"macro F1 {value:.3f}" if value <= 1 else "no behavior labelled or predicted"
        yield one.name, _draw(one, figures, second, (0, len(one.labels)), f"{one.name}: {text}")


def _draw(
    one: Answers,
    figures: BehaviorFigures,
    second: Mapping[str, NDArray[np.int8]] | None,
    span: tuple[int, int],
    title: str,
) -> Figure:
    part = slice(*span)
    other = second.get(one.name) if second else None
    return ethogram(
        one.labels[part],
        one.probabilities[part],
        figures.behaviors,
        figures.spec.frame_rate_hz,
        predicted=one.kept(figures.spec)[part],
        second=None if other is None else other[part],
        limits=[first - span[0] for first, _ in one.clips if span[0] < first < span[1]],
        first_frame=span[0],
        title=title,
    )

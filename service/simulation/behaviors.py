"""When each behavior is shown: exact rules on the body's motion, see `label_behaviors`."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from service.simulation.arena import Arena
from service.simulation.body import Bodies
from service.simulation.motion import COLUMNS, MOTION_RATE_HZ

LOCOMOTION_SPEED = 0.5
"""Body lengths a second, of the tail base over the floor, mean of 0.1 s."""
REARING_HEAD_HEIGHT = 0.42
"""Body lengths, of the point between the ears above the floor."""
GROOMING_AMOUNT = 0.5
"""Share of the full grooming posture."""
WALL_DISTANCE = 0.04
"""Body lengths, between the body's surface and a wall."""
SUPPORT_DISTANCE = 0.12
"""Body lengths, between a forepaw and a wall."""
MIN_GAP_S = 0.2
MIN_BOUT_S = 0.3

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measures:
    """What the rules look at, for one animal at every inner instant; body lengths."""

    base_xy: NDArray[np.float64]
    """(S, 2) tail base on the floor."""
    head_height: NDArray[np.float64]
    """(S,) of the point between the ears."""
    wall_gap: NDArray[np.float64]
    """(S,) from the surface of trunk, head and snout to the nearest wall."""
    paw_gap: NDArray[np.float64]
    """(S,) from the nearer forepaw to the nearest wall."""
    groom: NDArray[np.float64]
    """(S,) amount of the grooming posture, 0 to about 1."""


def measure(postures: NDArray[np.float64], bodies: Bodies, arena: Arena) -> Measures:
    """Measure the bodies of postures (S, columns)."""
    return Measures(
        base_xy=bodies.spine[:, 0, :2],
        head_height=bodies.ear_fronts[..., 2].mean(1),
        wall_gap=(arena.distances(bodies.spine) - bodies.spine_radii).min(1),
        paw_gap=arena.distances(bodies.paws[:, 2:]).min(1),
        groom=postures[:, COLUMNS.index("hunch")],
    )


def join(pieces: list[Measures]) -> Measures:
    """Measures of one animal from pieces that follow each other in time."""
    return Measures(
        *(
            np.concatenate([getattr(piece, part.name) for piece in pieces])
            for part in fields(Measures)
        )
    )


def label_behaviors(measures: Measures) -> dict[str, Flags]:
    """Behaviors of one animal at every inner instant, (S,) bool each.

    - `locomotion`: the tail base moves over the floor at 0.5 body lengths a second or more (mean
      of the 0.1 s around the instant), and the animal is not rearing.
    - `rearing`: the point between the ears is at least 0.42 body lengths above the floor.
    - `grooming`: sitting hunched with forepaws at the face or the head at the flank (at least
      half of the full posture), the head moving at 4 to 8 Hz.
    - `wall_contact`: the surface of trunk, head or snout is within 0.04 body lengths of a wall.
    - `wall_supported_rearing`: rearing with a forepaw within 0.12 body lengths of a wall, with
      the moments of getting up and down that last less than 0.3 s.
    - `free_rearing`: rearing that is not wall-supported; the home cage calls this `rearing`.

    Gaps shorter than 0.2 s are filled, then bouts shorter than 0.3 s are removed.
    """
    half = round(0.05 * MOTION_RATE_HZ)
    place = np.pad(measures.base_xy, ((half, half), (0, 0)), mode="edge")
    moved = place[2 * half :] - place[: -2 * half]
    speed = np.hypot(moved[:, 0], moved[:, 1]) * MOTION_RATE_HZ / (2 * half)
    rearing = clean(measures.head_height >= REARING_HEAD_HEIGHT)
    supported = clean(rearing & (measures.paw_gap <= SUPPORT_DISTANCE))
    free = _without_short_runs(rearing & ~supported, MIN_BOUT_S, keep_ends=False)
    return {
        "locomotion": clean((speed >= LOCOMOTION_SPEED) & ~rearing),
        "rearing": rearing,
        "grooming": clean(measures.groom >= GROOMING_AMOUNT),
        "wall_contact": clean(measures.wall_gap <= WALL_DISTANCE),
        "wall_supported_rearing": rearing & ~free,
        "free_rearing": free,
    }


def clean(flags: Flags) -> Flags:
    """Flags (S,) at the inner rate without short gaps, then without short bouts."""
    filled = ~_without_short_runs(~flags, MIN_GAP_S, keep_ends=True)
    return _without_short_runs(filled, MIN_BOUT_S, keep_ends=False)


def _without_short_runs(flags: Flags, shortest_s: float, *, keep_ends: bool) -> Flags:
    """Flags without runs of True shorter than a time; `keep_ends` spares cut-off ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    result = flags.copy()
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        at_end = start == 0 or stop == len(flags)
        if (stop - start) / MOTION_RATE_HZ < shortest_s and not (keep_ends and at_end):
            result[start:stop] = False
    return result

"""When each behavior is shown: exact rules on the body's motion, see `label_behaviors`."""

import numpy as np
from numpy.typing import NDArray

from service.simulation.arena import Arena
from service.simulation.body import Bodies
from service.simulation.motion import COLUMNS, MOTION_RATE_HZ

LOCOMOTION_SPEED = 0.5
"""Body lengths a second, of the tail base over the floor."""
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


def label_behaviors(
    postures: NDArray[np.float64], bodies: Bodies, arena: Arena
) -> dict[str, Flags]:
    """Behaviors of one animal at every inner instant, (S,) bool each.

    - `locomotion`: speed over the floor of at least 0.5 body lengths a second, not rearing.
    - `rearing`: the point between the ears is at least 0.42 body lengths above the floor.
    - `grooming`: sitting hunched with forepaws at the face or the head at the flank (at least
      half of the full posture), the head moving at 4 to 8 Hz.
    - `wall_contact`: the surface of trunk, head or snout is within 0.04 body lengths of a wall.
    - `wall_supported_rearing`: rearing with a forepaw within 0.12 body lengths of a wall, with
      the moments of getting up and down that last less than 0.3 s.
    - `free_rearing`: rearing that is not wall-supported; the home cage calls this `rearing`.

    Gaps shorter than 0.2 s are filled, then bouts shorter than 0.3 s are removed.

    Args:
        postures: (S, columns) as in `motion.COLUMNS`, at the inner rate.
        bodies: the bodies of these postures.
        arena: the walls.
    """
    speed = postures[:, COLUMNS.index("speed")]
    hunch = postures[:, COLUMNS.index("hunch")]
    rearing = clean(bodies.ear_fronts.mean(1)[:, 2] >= REARING_HEAD_HEIGHT)
    surface = arena.distances(bodies.spine) - bodies.spine_radii
    contact = surface.min(1) <= WALL_DISTANCE
    paws = arena.distances(bodies.paws[:, 2:]).min(1) <= SUPPORT_DISTANCE
    free = _without_short_runs(
        rearing & ~clean(rearing & paws), MIN_BOUT_S, keep_ends=False
    )
    return {
        "locomotion": clean((speed >= LOCOMOTION_SPEED) & ~rearing),
        "rearing": rearing,
        "grooming": clean(hunch >= GROOMING_AMOUNT),
        "wall_contact": clean(contact),
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

"""The animal's body: from posture to spheres, curves and keypoints in the arena."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.simulation.arena import Arena
from service.simulation.motion import COLUMNS, TAIL_JOINTS

Array = NDArray[np.float64]

# Where the spine's spheres sit, tail base 0 to snout 1, and their radii; all in body lengths
# (snout to tail base of a straight animal, which is 115 px in the open-field recordings).
SPINE_AT = np.concatenate([np.linspace(0.0, 0.72, 15), np.linspace(0.755, 0.975, 10)])
_PROFILE_AT = (0.0, 0.05, 0.13, 0.25, 0.38, 0.52, 0.64, 0.74, 0.82, 0.88, 0.92, 0.95, 0.975)
_PROFILE = (
    0.032, 0.064, 0.118, 0.172, 0.187, 0.168, 0.140, 0.112, 0.106, 0.096, 0.074, 0.050, 0.028,
)  # fmt: skip
SPINE_RADII = np.interp(SPINE_AT, _PROFILE_AT, _PROFILE)
TAIL_POINTS = 24
EAR_POINTS = 16
_HIND, _FORE, HEAD = 4, 13, 20  # spheres of the spine that carry legs and ears
_COLUMN = {name: index for index, name in enumerate(COLUMNS)}


@dataclass(frozen=True, slots=True)
class BodyShape:
    """What makes one animal different from another; factors around 1."""

    girth: float = 1.0
    ear_size: float = 1.0
    tail_length: float = 0.85
    """Body lengths."""
    tail_thickness: float = 0.032
    """Radius at its base, body lengths."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """One animal at T instants; points are (T, points, 3) in body lengths, z up from the floor."""

    spine: Array
    spine_radii: Array
    """(spheres,)"""
    legs: Array
    """Belly, then haunch, shank and foreleg of each side; left ones first."""
    leg_radii: Array
    paws: Array
    """Heels of left hind, right hind, left fore, right fore."""
    toes: Array
    """(T, 4, 3) their tips."""
    ears: Array
    """(T, 2, points, 3) outlines of left and right ear."""
    tail: Array
    tail_radii: Array
    snout: Array
    """(T, 3)"""
    ear_fronts: Array
    """(T, 2, 3) front inner edge of each ear: what `leftear` and `rightear` mark."""
    eyes: Array
    """(T, 2, 3)"""
    forward: Array
    """(T, 3) unit vector along the head."""

    def keypoints(self) -> Array:
        """(T, 6, 3): snout, leftear, rightear, tailbase, tailtip, bodycenter."""
        return np.concatenate(
            [
                self.snout[:, None],
                self.ear_fronts,
                self.spine[:, :1],
                self.tail[:, -1:],
                self.spine[:, 8:9],
            ],
            axis=1,
        )


def build_bodies(postures: Array, shape: BodyShape, arena: Arena) -> Bodies:
    """Bodies of one animal between the walls.

    Args:
        postures: (T, columns) as in `motion.COLUMNS`.
        shape: the animal's own proportions.
        arena: the walls; what sticks out is moved back, the tail bends along the wall.
    """
    column = {name: postures[:, index] for name, index in _COLUMN.items()}
    rear, hunch = column["rear"], np.maximum(column["hunch"], 0.0)
    stride, speed = column["stride_phase"], np.minimum(column["speed"] / 1.2, 1.0)
    yaw, pitch = _spine_angles(column)
    directions = np.stack(
        [np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)], axis=-1
    )
    steps = np.diff(SPINE_AT, prepend=0.0)[None, :, None]
    radii = SPINE_RADII * np.where(SPINE_AT < 0.8, shape.girth, 1.0)
    spine = np.cumsum(directions * steps, axis=1)
    spine[..., 0] += column["x"][:, None]
    spine[..., 1] += column["y"][:, None]
    spine[..., 2] += 0.075
    left = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    up = np.cross(directions, left)
    wiggle = 0.018 * speed[:, None] * np.sin(stride[:, None] - 4.0 * SPINE_AT[None])
    spine += left * wiggle[..., None]
    # The belly never sinks below the floor.
    spine[..., 2] = np.maximum(spine[..., 2], 0.8 * radii[None] + 0.01)
    shift = arena.shift_inside(spine, 0.92 * radii)
    spine[..., :2] += shift[:, None]

    paws, toes = _paws(column, spine, directions, left, up, arena)
    legs, leg_radii = _legs(spine, left, up, paws, hunch, shape)
    ears, ear_fronts = _ears(spine, directions, left, up, shape)
    eyes = np.stack(
        [spine[:, -3] + side * 0.054 * left[:, -3] + 0.036 * up[:, -3] for side in (1.0, -1.0)],
        axis=1,
    )
    tail, tail_radii = _tail(column, spine[:, 0], shape, arena, rear + hunch)
    return Bodies(
        spine=spine,
        spine_radii=radii,
        legs=legs,
        leg_radii=leg_radii,
        paws=paws,
        toes=toes,
        ears=ears,
        tail=tail,
        tail_radii=tail_radii,
        snout=spine[:, -1] + 0.025 * directions[:, -1],
        ear_fronts=ear_fronts,
        eyes=eyes,
        forward=directions[:, -3],
    )


def _ramp(low: float, high: float) -> Array:
    """(spheres,) smooth step along the spine from 0 before `low` to 1 after `high`."""
    part = np.clip((SPINE_AT - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part))


def _spine_angles(column: dict[str, Array]) -> tuple[Array, Array]:
    """Yaw and pitch (T, spheres) of the spine's pieces."""

    def along(name: str, profile: Array) -> Array:
        return column[name][:, None] * profile[None]

    yaw = column["yaw"][:, None] + along("bend", _ramp(0.12, 0.75))
    yaw = yaw + along("head_yaw", _ramp(0.68, 0.86))
    trunk, head = _ramp(0.05, 0.2), _ramp(0.68, 0.88)
    pitch = (0.30 - 0.62 * _ramp(0.1, 0.75) + 0.12 * head)[None]
    pitch = pitch + along("rear", 1.05 * trunk + 0.4 * _ramp(0.3, 0.7) - 0.5 * head)
    pitch = pitch + along("hunch", 0.70 * _ramp(0.03, 0.16) - 1.0 * _ramp(0.25, 0.7) - 0.45 * head)
    return yaw, pitch + along("head_pitch", head)


def _paws(
    column: dict[str, Array], spine: Array, ahead: Array, left: Array, up: Array, arena: Arena
) -> tuple[Array, Array]:
    """Heels and toes, (T, 4, 3) each."""
    speed = np.minimum(column["speed"] / 1.2, 1.0)
    rear = np.clip(column["rear"], 0.0, 1.0)[:, None]
    hunch = np.clip(column["hunch"], 0.0, 1.0)[:, None]
    support = np.clip(column["support"], 0.0, 1.0)[:, None]
    flat = ahead * np.array([1.0, 1.0, 0.0])
    flat = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
    heels, toes = [], []
    for at, side, phase in (
        (_HIND, 1.0, 0.0), (_HIND, -1.0, np.pi), (_FORE, 1.0, np.pi), (_FORE, -1.0, 0.0),
    ):  # fmt: skip
        swing = np.sin(column["stride_phase"] + phase)
        lift = 0.03 * speed * np.maximum(0.0, np.cos(column["stride_phase"] + phase))
        out = 0.165 if at == _HIND else 0.085
        forward = (0.0 if at == _HIND else 0.07) + 0.10 * speed * swing
        paw = spine[:, at] + side * out * left[:, at] + forward[:, None] * flat[:, at]
        paw[:, 2] = 0.02 + lift
        if at == _FORE:
            stroke = 0.035 * np.sin(column["groom_phase"] + (0.0 if side > 0 else 0.6))
            tucked = spine[:, _FORE] + 0.10 * ahead[:, _FORE] - 0.12 * up[:, _FORE]
            reach = spine[:, _FORE] + 0.24 * ahead[:, _FORE] - 0.04 * up[:, _FORE]
            raised = tucked * (1.0 - support) + reach * support + side * 0.07 * left[:, _FORE]
            face = spine[:, -2] - 0.05 * up[:, -2] + side * 0.045 * left[:, -2]
            face = face + stroke[:, None] * ahead[:, -2]
            raised = raised + support * arena.to_wall(raised, within=0.4)
            paw = paw * (1.0 - rear) + raised * rear
            paw = paw * (1.0 - hunch) + face * hunch
            paw[:, 2] = np.maximum(paw[:, 2], 0.02)
            foot = 0.06 * _unit(flat[:, at] * (1.0 - rear) + (ahead + 0.5 * up)[:, at] * rear)
        else:
            foot = 0.13 * _unit(flat[:, at] + 0.25 * side * left[:, at])
        heels.append(paw)
        toes.append(paw + foot)
    return (
        arena.clamp(np.stack(heels, axis=1), 0.015),
        arena.clamp(np.stack(toes, axis=1), 0.015),
    )


def _legs(
    spine: Array, left: Array, up: Array, paws: Array, hunch: Array, shape: BodyShape
) -> tuple[Array, Array]:
    """Belly, haunches and legs: the fur beside the spine."""
    points, radii = [], []
    for at in (5, 7, 9, 11):
        sag = (0.02 + 0.09 * np.minimum(hunch, 1.0))[:, None]
        points.append(spine[:, at] - sag * up[:, at])
        radii.append(float(0.92 * SPINE_RADII[at]) * shape.girth)
    for side, heel, paw in ((1.0, 0, 2), (-1.0, 1, 3)):
        haunch = spine[:, _HIND] + side * 0.07 * left[:, _HIND]
        haunch[:, 2] = np.clip(haunch[:, 2] - 0.06, 0.11, 0.14)
        points += [haunch, 0.55 * haunch + 0.45 * paws[:, heel], 0.2 * haunch + 0.8 * paws[:, heel]]
        radii += [0.125 * shape.girth, 0.075, 0.035]
        shoulder = spine[:, _FORE] + side * 0.05 * left[:, _FORE]
        for part, radius in ((0.25, 0.075), (0.5, 0.05), (0.75, 0.036), (1.0, 0.027)):
            points.append(shoulder * (1.0 - part) + paws[:, paw] * part)
            radii.append(radius)
    return np.stack(points, axis=1), np.array(radii)


def _ears(
    spine: Array, ahead: Array, left: Array, up: Array, shape: BodyShape
) -> tuple[Array, Array]:
    """Outlines (T, 2, points, 3) and front inner edges (T, 2, 3) of left and right ear."""
    head, along, aside, above = (each[:, HEAD] for each in (spine, ahead, left, up))
    # Sphere HEAD sits at 0.877; the marked edge lies at 0.904, as people marked it (a snout to
    # mid-ear distance of 0.075 body lengths).
    outlines, fronts = [], []
    angles = np.linspace(0.0, 2.0 * np.pi, EAR_POINTS, endpoint=False)
    size = 0.069 * shape.ear_size
    for side in (1.0, -1.0):
        front = head + 0.027 * along + side * 0.082 * aside + 0.055 * above
        outward = _unit(-0.6 * along + side * 0.68 * aside + 0.42 * above)
        across = 0.80 * along + side * 0.52 * aside - 0.10 * above
        across = _unit(across - (across * outward).sum(-1, keepdims=True) * outward)
        center = front + 0.82 * size * outward
        outlines.append(
            center[:, None]
            + size * np.cos(angles)[None, :, None] * outward[:, None]
            + 0.92 * size * np.sin(angles)[None, :, None] * across[:, None]
        )
        fronts.append(front)
    return np.stack(outlines, axis=1), np.stack(fronts, axis=1)


def _tail(
    column: dict[str, Array], base: Array, shape: BodyShape, arena: Arena, lift: Array
) -> tuple[Array, Array]:
    part = np.linspace(0.0, 1.0, TAIL_POINTS)
    joints = np.stack([column[f"tail{joint}"] for joint in range(TAIL_JOINTS)], axis=1)
    place = part * (TAIL_JOINTS - 1)
    before = np.minimum(place.astype(np.int64), TAIL_JOINTS - 2)
    share = place - before
    angle = joints[:, before] * (1.0 - share) + joints[:, before + 1] * share
    step = shape.tail_length / (TAIL_POINTS - 1)
    tail = np.zeros((*angle.shape, 3))
    tail[:, 1:, 0] = np.cumsum(np.cos(angle[:, :-1]), axis=1) * step
    tail[:, 1:, 1] = np.cumsum(np.sin(angle[:, :-1]), axis=1) * step
    tail += base[:, None]
    radii = shape.tail_thickness * (1.0 - 0.78 * part)
    height = np.exp(-part / 0.12)[None]
    tail[..., 2] = base[:, None, 2] * height + (radii + 0.004)[None] * (1.0 - height)
    return arena.clamp(tail, 0.02), radii


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))

"""How animals move: posture over time at a fixed inner rate, whatever the frame rate."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.simulation.arena import Arena

MOTION_RATE_HZ = 100.0
TAIL_JOINTS = 6
COLUMNS = (
    "x", "y", "yaw", "bend", "head_yaw", "head_pitch", "rear", "hunch", "groom_phase",
    "stride_phase", "speed", "support", *(f"tail{joint}" for joint in range(TAIL_JOINTS)),
)  # fmt: skip
_STEP_S = 1.0 / MOTION_RATE_HZ
_PERSONAL_SPACE = 0.8  # body lengths between the centers of two animals


@dataclass(frozen=True, slots=True)
class Motion:
    """Posture of every animal over time."""

    values: NDArray[np.float64]
    """(N, S, columns) posture at S instants, `MOTION_RATE_HZ` apart; see `COLUMNS`.

    Positions are in body lengths, angles in radians (unwrapped), `rear`, `hunch` and `support`
    are amounts from 0 to about 1, `speed` is in body lengths a second.
    """

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Posture (N, T, columns) at the times, interpolated."""
        place = np.clip(times_s * MOTION_RATE_HZ, 0.0, self.values.shape[1] - 1.0)
        before = np.minimum(place.astype(np.int64), self.values.shape[1] - 2)
        part = (place - before)[None, :, None]
        return np.asarray(self.values[:, before] * (1.0 - part) + self.values[:, before + 1] * part)


def simulate_motion(
    arena: Arena, *, animals: int, duration_s: float, rng: np.random.Generator
) -> Motion:
    """Let animals act in an arena for a time.

    Locomotion alternates with rearing, rearing at a wall, grooming and pauses, in an order drawn
    from a shuffled deck, so that each occurs about every 13 s. Speed and turning are
    first-order processes with Ornstein-Uhlenbeck noise, postures are critically damped.
    """
    steps = max(2, math.ceil(duration_s * MOTION_RATE_HZ) + 2)
    streams = rng.spawn(animals)
    movers = [
        _Mover(arena, stream, *_start(arena, index, animals, stream))
        for index, stream in enumerate(streams)
    ]
    values = np.empty((animals, steps, len(COLUMNS)))
    for step in range(steps):
        for index, mover in enumerate(movers):
            mover.step(movers)
            values[index, step] = mover.posture()
    return Motion(values)


def _start(arena: Arena, index: int, animals: int, rng: np.random.Generator) -> tuple[float, float]:
    if animals == 1:
        reach = rng.uniform(-0.6, 0.6, 2)
        return float(reach[0]) * arena.half_width, float(reach[1]) * arena.half_depth
    angle = 2.0 * math.pi * index / animals
    return (
        0.55 * arena.half_width * math.cos(angle),
        0.55 * arena.half_depth * math.sin(angle),
    )


class _Smooth:
    """A critically damped second-order filter: follows its target without a jump in speed."""

    __slots__ = ("rate", "speed", "value")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.value = 0.0
        self.speed = 0.0

    def step(self, target: float) -> float:
        pull = self.rate * self.rate * (target - self.value) - 2.0 * self.rate * self.speed
        self.speed += pull * _STEP_S
        self.value += self.speed * _STEP_S
        return self.value


class _Noise:
    """Ornstein-Uhlenbeck noise of unit variance, from draws made ahead in blocks."""

    __slots__ = ("_block", "_keep", "_kick", "_place", "_rng", "value")

    def __init__(self, rng: np.random.Generator, time_constant_s: float) -> None:
        self._rng = rng
        self._keep = math.exp(-_STEP_S / time_constant_s)
        self._kick = math.sqrt(1.0 - self._keep**2)
        self._block: list[float] = []
        self._place = 0
        self.value = float(rng.standard_normal())

    def step(self) -> float:
        if self._place == len(self._block):
            self._block = self._rng.standard_normal(1024).tolist()
            self._place = 0
        self.value = self._keep * self.value + self._kick * self._block[self._place]
        self._place += 1
        return self.value


class _Mover:
    """One animal's state, stepped in time."""

    def __init__(self, arena: Arena, rng: np.random.Generator, x: float, y: float) -> None:
        self.arena = arena
        self.rng = rng
        self.x, self.y = x, y
        self.yaw = float(rng.uniform(-math.pi, math.pi))
        self.speed = 0.0
        self.turn = 0.0
        self.stride_phase = float(rng.uniform(0.0, 2.0 * math.pi))
        self.groom_phase = 0.0
        self.groom_rate_hz = 6.0
        self.stroke_size = 0.3
        self.lick_side = 0.0
        self.bend, self.head_yaw, self.head_pitch = _Smooth(9.0), _Smooth(11.0), _Smooth(14.0)
        self.rear, self.hunch, self.support = _Smooth(8.0), _Smooth(9.0), _Smooth(9.0)
        self.tail = [self.yaw + math.pi] * TAIL_JOINTS
        self.speed_noise, self.turn_noise = _Noise(rng, 0.5), _Noise(rng, 0.35)
        self.look_noise, self.nod_noise = _Noise(rng, 0.25), _Noise(rng, 0.2)
        self.tail_noise = _Noise(rng, 0.6)
        self.pace = float(rng.uniform(0.85, 1.2))
        self.deck: list[str] = []
        self.approaches = 0
        self.act = "pause"
        self.left_s = float(rng.uniform(0.1, 0.6))
        self.wanted_speed = 0.0
        self.rear_depth = 1.0
        self.target = (0.0, 0.0)

    # -- choosing what to do

    def _next_act(self) -> None:
        uniform = self.rng.uniform
        if self.act in ("walk", "approach"):
            arrived = self.act == "approach" and self._clearance() < 0.35
            if self.act == "approach" and arrived:
                self.approaches += 1
                self.act = "sniff_wall" if self.approaches % 4 == 3 else "wall_rear"
                self.left_s = float(uniform(1.0, 2.6))
            else:
                if not self.deck:
                    self.deck = ["rear", "approach", "groom", "pause"]
                    self.rng.shuffle(self.deck)
                self.act = self.deck.pop()
                self._begin()
        else:
            self.act = "walk"
            self._begin()
        self.rear_depth = float(uniform(0.8, 1.05))

    def _begin(self) -> None:
        uniform = self.rng.uniform
        if self.act == "walk":
            self.left_s = float(uniform(0.9, 3.0))
            self.wanted_speed = self.pace * float(uniform(1.0, 2.3))
            self.target = self._draw_target()
        elif self.act == "approach":
            self.left_s = 4.0
            self.wanted_speed = self.pace * float(uniform(0.9, 1.5))
            distance, nx, ny = self.arena.nearest_wall(*self._ahead(1.0))
            x, y = self._ahead(1.0)
            self.target = (x - nx * (distance + 0.2), y - ny * (distance + 0.2))
        elif self.act == "groom":
            self.left_s = float(uniform(1.4, 4.0))
            self.groom_rate_hz = float(uniform(4.0, 8.0))
            self.stroke_size = 1.7 / self.groom_rate_hz  # fast strokes are short
            self.lick_side = float(self.rng.choice([-1.0, 0.0, 0.0, 1.0]))
        elif self.act == "rear":
            self.left_s = float(uniform(0.9, 2.4))
        else:
            self.left_s = float(uniform(0.6, 1.6))

    def _draw_target(self) -> tuple[float, float]:
        """A place to walk to, more often than not along a wall."""
        wide, deep = self.arena.half_width, self.arena.half_depth
        for _ in range(8):
            angle = float(self.rng.uniform(-math.pi, math.pi))
            if self.arena.round:
                reach = wide * math.sqrt(float(self.rng.uniform(0.0, 0.75)))
                x, y = reach * math.cos(angle), reach * math.sin(angle)
            else:
                x = float(self.rng.uniform(-1.0, 1.0)) * (wide - 0.3)
                y = float(self.rng.uniform(-1.0, 1.0)) * (deep - 0.3)
            if self.rng.uniform() < 0.6:
                distance, nx, ny = self.arena.nearest_wall(x, y)
                gap = float(self.rng.uniform(0.08, 0.22))
                x, y = x + nx * (gap - distance), y + ny * (gap - distance)
            if math.hypot(x - self.x, y - self.y) > 1.3:
                break
        return x, y

    # -- moving

    def step(self, movers: "list[_Mover]") -> None:
        """Advance by one inner step."""
        self.left_s -= _STEP_S
        walking = self.act in ("walk", "approach")
        if self.left_s <= 0.0 or (walking and self._arrived()):
            self._next_act()
        self._steer(walking)
        self._pose()
        self._keep_apart(movers)
        self._keep_inside()
        self._follow_with_tail()

    def _steer(self, walking: bool) -> None:
        turn_noise, speed_noise = self.turn_noise.step(), self.speed_noise.step()
        wanted_turn = wanted_speed = 0.0
        if walking:
            bearing = math.atan2(self.target[1] - self.y, self.target[0] - self.x)
            error = _wrap(bearing - self.yaw)
            wanted_turn = max(-4.5, min(4.5, 4.0 * error)) + 0.7 * turn_noise
            facing = max(0.12, math.cos(error)) if abs(error) < 1.4 else 0.12
            brake = max(0.05, min(1.0, (self._clearance() + 0.02) / 0.35))
            wanted_speed = self.wanted_speed * facing * (1.0 + 0.15 * speed_noise) * brake
        elif self.act in ("wall_rear", "sniff_wall"):
            wanted_turn = max(-1.5, min(1.5, 2.0 * self._off_wall()))
            gap = self._clearance()  # steps up to the wall as the body rises and gets shorter
            wanted_speed = max(0.0, min(0.9, 2.5 * gap))
        elif self.act == "pause":
            wanted_turn = 0.25 * turn_noise
        self.turn += (wanted_turn - self.turn) * _STEP_S / 0.12
        self.speed += (max(0.0, wanted_speed) - self.speed) * _STEP_S / 0.13
        self.yaw += self.turn * _STEP_S
        self.x += self.speed * math.cos(self.yaw) * _STEP_S
        self.y += self.speed * math.sin(self.yaw) * _STEP_S
        self.stride_phase += 2.0 * math.pi * _STEP_S * (self.speed + 0.15 * abs(self.turn)) / 0.55

    def _pose(self) -> None:
        look, nod = self.look_noise.step(), self.nod_noise.step()
        act = self.act
        rearing, grooming = act in ("rear", "wall_rear"), act == "groom"
        self.rear.step(self.rear_depth if rearing else 0.0)
        self.hunch.step(1.0 if grooming else 0.0)
        self.support.step(1.0 if act == "wall_rear" else 0.0)
        hunch = self.hunch.value
        self.groom_phase += 2.0 * math.pi * self.groom_rate_hz * _STEP_S * max(0.0, hunch)
        stroke = math.sin(self.groom_phase)
        lick = self.lick_side if grooming else 0.0
        calm = 0.35 if grooming else 1.0
        self.bend.step(max(-0.55, min(0.55, 0.16 * self.turn)) + 0.75 * lick)
        self.head_yaw.step(max(-0.6, min(0.6, 0.12 * self.turn)) + 0.22 * calm * look + 0.7 * lick)
        self.head_pitch.step(0.13 * nod * calm + self.stroke_size * stroke * hunch)

    def _ahead(self, reach: float) -> tuple[float, float]:
        """The floor point `reach` body lengths before the tail base."""
        return self.x + reach * math.cos(self.yaw), self.y + reach * math.sin(self.yaw)

    def _arrived(self) -> bool:
        """True where the snout is at the wall, the shoulders at the target, or a wall between."""
        if self.act == "approach":
            return self._clearance() < 0.1 and abs(self._off_wall()) < 0.6
        x, y = self._ahead(0.6)
        if math.hypot(self.target[0] - x, self.target[1] - y) < 0.3:
            return True
        error = _wrap(math.atan2(self.target[1] - self.y, self.target[0] - self.x) - self.yaw)
        return self._clearance() < 0.1 and abs(error) < 0.4 and abs(self._off_wall()) < 0.7

    def _reach(self) -> float:
        """How far the snout stands before the tail base, seen from above, body lengths."""
        rear, hunch = min(1.0, self.rear.value), min(1.0, self.hunch.value)
        return 1.0 - 0.5 * rear - 0.25 * hunch

    def _clearance(self) -> float:
        """Distance of the snout from the nearest wall."""
        return self.arena.nearest_wall(*self._ahead(self._reach()))[0]

    def _off_wall(self) -> float:
        """Angle by which to turn to face the wall nearest to the snout."""
        _, nx, ny = self.arena.nearest_wall(*self._ahead(self._reach()))
        return _wrap(math.atan2(-ny, -nx) - self.yaw)

    def _keep_inside(self) -> None:
        for part, radius in ((1.0, 0.02), (0.6, 0.13), (0.25, 0.15)):
            x, y = self._ahead(part * self._reach())
            for _ in range(2):  # twice: a corner has two walls
                distance, nx, ny = self.arena.nearest_wall(x, y)
                if distance >= radius:
                    break
                move = radius - distance
                self.x, self.y = self.x + nx * move, self.y + ny * move
                x, y = x + nx * move, y + ny * move

    def _keep_apart(self, movers: "list[_Mover]") -> None:
        """Step aside, at no more than 0.8 body lengths a second."""
        x, y = self._ahead(0.45)
        for other in movers:
            if other is self:
                continue
            other_x, other_y = other._ahead(0.45)
            apart = max(1e-3, math.hypot(x - other_x, y - other_y))
            if apart < _PERSONAL_SPACE:
                move = 0.8 * _STEP_S * min(1.0, (_PERSONAL_SPACE - apart) / 0.2)
                self.x += move * (x - other_x) / apart
                self.y += move * (y - other_y) / apart
                if self.act == "walk" and apart < 0.7 and self.rng.uniform() < 0.05:
                    self.target = self._draw_target()

    def _follow_with_tail(self) -> None:
        sway = self.tail_noise.step()
        leader = self.yaw + math.pi - 0.35 * self.bend.value + 0.12 * sway
        for joint in range(TAIL_JOINTS):
            lag_s = 0.09 + 0.05 * joint
            self.tail[joint] += (leader - self.tail[joint]) * _STEP_S / lag_s
            leader = self.tail[joint] + 0.10 * sway

    def posture(self) -> tuple[float, ...]:
        """The values named by `COLUMNS`."""
        return (
            self.x, self.y, self.yaw, self.bend.value, self.head_yaw.value,
            self.head_pitch.value, self.rear.value, self.hunch.value, self.groom_phase,
            self.stride_phase, self.speed, self.support.value, *self.tail,
        )  # fmt: skip


def _wrap(angle: float) -> float:
    """The same angle between -pi and pi."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi

"""A simulated recording: its truth at once, its frames when asked for."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.simulation.behaviors import join, label_behaviors, measure
from service.simulation.body import Bodies, build_bodies
from service.simulation.look import Look, draw_look
from service.simulation.motion import MOTION_RATE_HZ, Motion, simulate_motion
from service.simulation.render import Renderer
from service.simulation.settings import SimulationSettings

_CHUNK = 2048  # instants whose bodies are built at once, which bounds the memory of long recordings
_BLUR_STEP_PX = 1.2  # motion between two moments of one exposure
_MAX_MOMENTS = 4


class Recording:
    """Truth and frames of one simulated recording; see `simulate`."""

    def __init__(self, settings: SimulationSettings, look: Look, motion: Motion) -> None:
        self.settings = settings
        self._look = look
        self._motion = motion
        self._renderer: Renderer | None = None
        times_s = np.arange(settings.frame_count) / settings.frame_rate_hz
        shape = (settings.frame_count, settings.animals, len(self.keypoint_names))
        self.keypoints_xy: NDArray[np.float32] = np.empty((*shape, 2), np.float32)
        """(T, N, K, 2) px; (0, 0) is the center of the top-left pixel."""
        self.visible: NDArray[np.bool_] = np.empty(shape, np.bool_)
        """(T, N, K); False where a keypoint is hidden by a body or outside the frame."""
        self._track(times_s)
        labels = [
            _behaviors_at(self._inner_labels(animal), times_s) for animal in range(settings.animals)
        ]
        self.behaviors_by_animal: NDArray[np.uint8] = np.stack(labels, axis=1)
        """(T, N, C) 1 where the animal shows the behavior."""
        self.behaviors: NDArray[np.uint8] = self.behaviors_by_animal.max(axis=1)
        """(T, C) 1 where at least one animal shows the behavior."""

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return self.settings.frame_count

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints, in the order of the arrays."""
        return self.settings.keypoint_names

    @property
    def behavior_names(self) -> tuple[str, ...]:
        """Names of the behaviors without `background`, in the order of the arrays."""
        return self.settings.behavior_names

    @property
    def body_length_px(self) -> float:
        """Length of a straight animal, snout to tail base, at the middle of the floor, px."""
        _, depth = self._look.camera.project(np.zeros((1, 3)))
        return self._look.camera.focal_px / float(depth[0])

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, (H, W, 3) uint8 RGB."""
        for frame_index in range(self.frame_count):
            yield self.render(frame_index)

    def render(self, frame_index: int) -> NDArray[np.uint8]:
        """One frame, (H, W, 3) uint8 RGB; the same for the same settings and index.

        Raises:
            IndexError: the recording has no such frame.
        """
        if not 0 <= frame_index < self.frame_count:
            raise IndexError(
                f"frame {frame_index} of a recording of {self.frame_count} frames; "
                f"choose one from 0 to {self.frame_count - 1}"
            )
        settings, look = self.settings, self._look
        if self._renderer is None:
            self._renderer = Renderer(look, settings.width_px, settings.height_px)
        time_s = frame_index / settings.frame_rate_hz
        exposure_s = min(look.exposure_s, 0.6 / settings.frame_rate_hz)
        ends = self._bodies_at(np.array([time_s - exposure_s / 2, time_s + exposure_s / 2]))
        moments = _moments(ends, look)
        times_s = time_s + exposure_s * ((np.arange(moments) + 0.5) / moments - 0.5)
        bodies = self._bodies_at(times_s)
        instants = [[_one(body, moment) for body in bodies] for moment in range(moments)]
        noise_rng = np.random.default_rng([settings.seed, 3, frame_index])
        return self._renderer.draw(instants, noise_rng=noise_rng)

    def _bodies_at(self, times_s: NDArray[np.float64]) -> list[Bodies]:
        postures = self._motion.at(times_s)
        return [
            build_bodies(posture, animal.shape, self._look.arena)
            for posture, animal in zip(postures, self._look.animals, strict=True)
        ]

    def _track(self, times_s: NDArray[np.float64]) -> None:
        """Fill `keypoints_xy` and `visible`."""
        count, camera = len(self.keypoint_names), self._look.camera
        size = [self.settings.width_px - 0.5, self.settings.height_px - 0.5]
        for start in range(0, len(times_s), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            bodies = self._bodies_at(times_s[chunk])
            for animal, body in enumerate(bodies):
                points = body.keypoints()[:, :count]
                pixels, _ = camera.project(points)
                seen = (pixels >= -0.5).all(-1) & (pixels < size).all(-1)
                for other in bodies:
                    # Points lie in their own body's surface, so only what is deeper counts.
                    slack = 0.25 if other is body else 0.0
                    seen &= ~_hidden(points, other, camera.position, slack)
                self.keypoints_xy[chunk, animal] = pixels
                self.visible[chunk, animal] = seen

    def _inner_labels(self, animal: int) -> NDArray[np.bool_]:
        """Behaviors (S, C) at the inner rate."""
        shape, arena = self._look.animals[animal].shape, self._look.arena
        pieces = []
        for start in range(0, self._motion.values.shape[1], _CHUNK):
            postures = self._motion.values[animal, start : start + _CHUNK]
            pieces.append(measure(postures, build_bodies(postures, shape, arena), arena))
        labels = label_behaviors(join(pieces))
        if self.settings.scene == "homecage":
            labels["rearing"] = labels["free_rearing"]
        return np.stack([labels[name] for name in self.behavior_names], axis=1)


def simulate(settings: SimulationSettings) -> Recording:
    """Simulate a recording: draw its looks, let the animals act, and compute the truth."""
    looks, motions = np.random.SeedSequence(settings.seed).spawn(2)
    look = draw_look(
        settings.scene,
        width_px=settings.width_px,
        height_px=settings.height_px,
        animals=settings.animals,
        rng=np.random.default_rng(looks),
    )
    motion = simulate_motion(
        look.arena,
        animals=settings.animals,
        duration_s=settings.duration_s,
        rng=np.random.default_rng(motions),
    )
    return Recording(settings, look, motion)


def _behaviors_at(labels: NDArray[np.bool_], times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
    instants = np.minimum(np.round(times_s * MOTION_RATE_HZ).astype(np.int64), len(labels) - 1)
    return labels[instants].astype(np.uint8)


def _hidden(
    points: NDArray[np.float64], body: Bodies, eye: NDArray[np.float64], slack: float
) -> NDArray[np.bool_]:
    """(T, K) True where the line from a point to the camera passes well through a sphere.

    Well means: within 0.8 of its radius, the sphere's center lying nearer to the camera by at
    least `slack` radii and 0.03 body lengths.
    """
    towards = eye - points
    towards = towards / np.linalg.norm(towards, axis=-1, keepdims=True)
    offset = body.spine[:, None] - points[:, :, None]  # (T, K, spheres, 3)
    along = (offset * towards[:, :, None]).sum(-1)
    squared = (offset * offset).sum(-1) - along * along
    radii = body.spine_radii
    crossed = (squared < (0.8 * radii) ** 2) & (along > slack * radii + 0.03)
    return np.asarray(crossed.any(-1))


def _moments(ends: list[Bodies], look: Look) -> int:
    """How many moments of an exposure to draw, from how far the bodies move in it."""
    farthest = 0.0
    for body in ends:
        pixels, _ = look.camera.project(body.spine)
        farthest = max(farthest, float(np.abs(pixels[1] - pixels[0]).max()))
    return int(np.clip(np.ceil(farthest / _BLUR_STEP_PX), 1, _MAX_MOMENTS))


def _one(bodies: Bodies, moment: int) -> Bodies:
    """The body at one of several instants, T = 1."""
    pick = slice(moment, moment + 1)
    return Bodies(
        spine=bodies.spine[pick],
        spine_radii=bodies.spine_radii,
        legs=bodies.legs[pick],
        leg_radii=bodies.leg_radii,
        paws=bodies.paws[pick],
        toes=bodies.toes[pick],
        ears=bodies.ears[pick],
        tail=bodies.tail[pick],
        tail_radii=bodies.tail_radii,
        snout=bodies.snout[pick],
        ear_fronts=bodies.ear_fronts[pick],
        eyes=bodies.eyes[pick],
        forward=bodies.forward[pick],
    )

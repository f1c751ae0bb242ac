"""Single random frames with their truth: new scene, animal and posture each time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.simulation.recording import simulate
from service.simulation.settings import SceneName, SimulationSettings

_LONGEST_S = 8.0


@dataclass(frozen=True, slots=True)
class RandomFrame:
    """A frame and what it shows."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    keypoints_xy: NDArray[np.float32]
    """(N, K, 2) px; (0, 0) is the center of the top-left pixel."""
    visible: NDArray[np.bool_]
    """(N, K)"""
    behaviors: NDArray[np.uint8]
    """(C,)"""


def render_random_frame(
    rng: np.random.Generator,
    *,
    scene: SceneName = "openfield",
    width_px: int = 640,
    height_px: int = 480,
    animals: int = 1,
) -> RandomFrame:
    """One frame of a recording that nobody has seen before; about 40 ms at 640x480.

    Args:
        rng: where the recording's seed and the moment come from.
        scene: see `SimulationSettings`.
        width_px: width of the frame.
        height_px: height of the frame.
        animals: number of animals.
    """
    settings = SimulationSettings(
        scene=scene,
        width_px=width_px,
        height_px=height_px,
        animals=animals,
        seed=int(rng.integers(2**62)),
        duration_s=float(rng.uniform(0.2, _LONGEST_S)),
    )
    recording = simulate(settings)
    last = recording.frame_count - 1
    return RandomFrame(
        recording.render(last),
        recording.keypoints_xy[last],
        recording.visible[last],
        recording.behaviors[last],
    )

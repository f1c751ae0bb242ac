"""Simulated frames with exact keypoints, as examples beside the labelled ones."""

from collections.abc import Sequence

import numpy as np

from service.errors import InvalidConfig
from service.simulation import SimulationSettings, simulate
from training.data.frames import Example, store_pixels

FRAMES_PER_RECORDING = 4
"""Few, since each recording has its own arena, light, animal and camera."""
_DURATION_S = 20.0


def simulated_examples(count: int, *, first_seed: int, keypoints: Sequence[str]) -> list[Example]:
    """Render `count` open-field frames of recordings with the seeds from `first_seed` on.

    A keypoint that is hidden in a frame is NaN; one that the simulation does not have is unknown.

    Raises:
        InvalidConfig: the simulation has none of `keypoints`.
    """
    examples: list[Example] = []
    unknown: tuple[int, ...] = ()
    while len(examples) < count:
        seed = first_seed + len(examples) // FRAMES_PER_RECORDING
        settings = SimulationSettings(
            scene="openfield", duration_s=_DURATION_S, seed=seed, extra_keypoints=True
        )
        known = {name: index for index, name in enumerate(settings.keypoint_names)}
        if not set(keypoints) & set(known):
            raise InvalidConfig(
                f"the simulation has the keypoints {', '.join(known)}, none of "
                f"{', '.join(keypoints)}; train without simulated frames"
            )
        unknown = tuple(row for row, name in enumerate(keypoints) if name not in known)
        recording = simulate(settings)
        random = np.random.default_rng((seed, 1))
        chosen = random.choice(recording.frame_count, FRAMES_PER_RECORDING, replace=False)
        for frame_index in chosen[: count - len(examples)]:
            points = np.full((1, len(keypoints), 2), np.nan, np.float32)
            for row, name in enumerate(keypoints):
                if name in known and recording.visible[frame_index, 0, known[name]]:
                    points[0, row] = recording.keypoints_xy[frame_index, 0, known[name]]
            pixels = recording.render(int(frame_index))
            name = f"simulated {seed}/{frame_index}"
            examples.append(Example(name, store_pixels(pixels), points, unknown))
    return examples

"""Tracks of a mouse that walks a circle, whose every number is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.tracks import Track

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")
SKELETON = (("snout", "leftear"), ("snout", "rightear"), ("snout", "tailbase"))
# Along the body and to its right in a picture from above, px; 100 px from snout to tail base.
OWN_FRAME = np.array([[100.0, 0.0], [80.0, -15.0], [80.0, 15.0], [0.0, 0.0]])


def walk(
    frames: int = 120, animals: int = 1, *, rate_hz: float = 30.0, noise_px: float = 0.0
) -> Track:
    """Animals on circles of 150 px, one turn in eight seconds."""
    random = np.random.default_rng(0)
    positions = np.empty((frames, animals, len(KEYPOINTS), 2))
    for animal in range(animals):
        angle = 2 * np.pi * (np.arange(frames) / rate_hz / 8 + animal / 3)
        center = 300 + 150 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        ahead = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
        right = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)  # y points down
        for place, (along, across) in enumerate(OWN_FRAME):
            positions[:, animal, place] = center + along * ahead + across * right
    positions += random.normal(0, noise_px, positions.shape) if noise_px else 0
    return Track(
        source=Path("walk.parquet"),
        model="mouse@2",
        keypoints=KEYPOINTS,
        animals=animals,
        frame_rate_hz=rate_hz,
        frame_index=np.arange(frames),
        keypoints_xy=positions.astype(np.float32),
        confidence=np.full(positions.shape[:-1], 0.9, np.float32),
        skeleton=SKELETON,
    )


@pytest.fixture
def make_track() -> Callable[..., Track]:
    return walk


@pytest.fixture
def track() -> Track:
    return walk()


def moved(track: Track, row: int, keypoint: str, by_px: float) -> Track:
    """The track with one keypoint of one frame moved to the right."""
    positions = track.keypoints_xy.copy()
    positions[row, 0, track.place(keypoint), 0] += by_px
    return replace(track, keypoints_xy=positions)


def unsure(track: Track, rows: slice | int, keypoint: str, confidence: float = 0.0) -> Track:
    """The track with less confidence in one keypoint."""
    changed = track.confidence.copy()
    changed[rows, 0, track.place(keypoint)] = confidence
    return replace(track, confidence=changed)


@pytest.fixture
def move() -> Callable[..., Track]:
    return moved


@pytest.fixture
def doubt() -> Callable[..., Track]:
    return unsure

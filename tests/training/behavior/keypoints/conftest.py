"""Labelled poses out of the simulation, without pictures."""

from pathlib import Path

import msgspec
import numpy as np

from service.simulation import SimulationSettings, simulate
from service.simulation.files import TruthFile
from service.simulation.labels import write_behavior_labels


def write_labelled_poses(
    folder: Path, recordings: int, *, duration_s: float, scene: str = "homecage", seed: int = 0
) -> Path:
    """Write mouse00 … with their label files and true poses; the videos are empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(recordings):
        settings = SimulationSettings(
            scene=scene,  # type: ignore[arg-type]
            width_px=320,
            height_px=240,
            frame_rate_hz=20.0,
            duration_s=duration_s,
            seed=seed + index,
        )
        recording = simulate(settings)
        name = f"mouse{index:02d}"
        (folder / f"{name}.mp4").touch()
        write_behavior_labels(recording, folder / f"{name}_labels.csv")
        np.savez_compressed(
            folder / f"{name}_truth.npz",
            keypoints_xy=recording.keypoints_xy,
            visible=recording.visible,
        )
        truth = TruthFile(
            settings=settings,
            video=f"{name}.mp4",
            codec="h264",
            frame_count=recording.frame_count,
            frame_rate_hz=settings.frame_rate_hz,
            keypoint_names=recording.keypoint_names,
            behavior_names=recording.behavior_names,
            body_length_px=recording.body_length_px,
        )
        (folder / f"{name}_truth.json").write_bytes(msgspec.json.encode(truth))
    return folder

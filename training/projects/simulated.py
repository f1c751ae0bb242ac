"""Makes a whole DeepLabCut project with pictures from simulated recordings, true to the pixel."""

import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import InvalidConfig
from service.results.atomic import replacing
from service.simulation import SimulationSettings, simulate
from service.simulation.settings import SceneName
from training.data.write_deeplabcut import write_label_table
from training.projects.create import Labelling, create_project_at

SCORER = "simulation"
TASK = "simulated"
SKELETON = (
    ("snout", "leftear"),
    ("snout", "rightear"),
    ("leftear", "tailbase"),
    ("rightear", "tailbase"),
)
_DATE = datetime.date(2026, 1, 1)  # equal arguments give equal files
_DURATION_S = 20.0


def simulate_project(
    out: Path,
    *,
    frames: int,
    animals: int = 1,
    seed: int = 0,
    scene: SceneName = "openfield",
    recordings: int | None = None,
    width_px: int = 640,
    height_px: int = 480,
) -> Path:
    """Make a project with labelled pictures of several simulated recordings.

    Each recording has its own arena, light, animals and camera; keypoints that are hidden are left
    out, as a person would.

    Args:
        out: folder of the project; it must not hold anything.
        frames: labelled pictures in all.
        animals: in each picture, 1 to 8; from 2 on the project is multi-animal.
        seed: of the first recording; the others take the ones after it.
        scene: of all recordings.
        recordings: how many; None takes one for each 20 pictures, at least 2 where there are 2.
        width_px: of the pictures.
        height_px: of the pictures.

    Raises:
        InvalidConfig: a number is outside its range.
        InvalidRequest: the folder exists already.
    """
    count = min(frames, max(2, frames // 20)) if recordings is None else recordings
    if not 1 <= count <= frames:
        raise InvalidConfig(
            f"{frames} frames in {count} recordings cannot be; give at least 1 recording and a "
            "frame for each"
        )
    names = tuple(f"animal{number + 1}" for number in range(animals))
    settings = [
        SimulationSettings(
            scene=scene,
            width_px=width_px,
            height_px=height_px,
            duration_s=_DURATION_S,
            animals=animals,
            seed=seed + number,
        )
        for number in range(count)
    ]
    keypoints = settings[0].keypoint_names
    labelling = Labelling(
        task=TASK,
        scorer=SCORER,
        keypoints=keypoints,
        animals=names if animals > 1 else (),
        skeleton=SKELETON,
    )
    create_project_at(out, labelling, date=_DATE)
    for number, one in enumerate(settings):
        recording = simulate(one)
        share = frames // count + (number < frames % count)
        if share > recording.frame_count:
            raise InvalidConfig(
                f"{share} frames of one recording are more than its {recording.frame_count}; "
                "ask for more recordings"
            )
        random = np.random.default_rng((one.seed, 1))
        chosen = np.sort(random.choice(recording.frame_count, share, replace=False))
        video = f"{scene}{one.seed}"
        folder = out / "labeled-data" / video
        rows = []
        for frame_index in map(int, chosen):
            name = f"img{frame_index:04d}.png"
            with replacing(folder / name) as unfinished:
                Image.fromarray(recording.render(frame_index)).save(unfinished)
            seen = recording.visible[frame_index][..., None]
            points = np.where(seen, recording.keypoints_xy[frame_index], np.nan)
            rows.append((f"labeled-data/{video}/{name}", points))
        stem = folder / f"CollectedData_{SCORER}"
        write_label_table(stem, SCORER, keypoints, labelling.animals, (), rows)
    return out

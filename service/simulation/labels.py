"""Label files that other programs read: DeepLabCut's keypoints, DeepEthogram's behaviors."""

from pathlib import Path

import numpy as np
import pandas as pd

from service.simulation.recording import Recording


def write_pose_labels(recording: Recording, directory: Path, scorer: str) -> tuple[Path, Path]:
    """Write `CollectedData_<scorer>.csv` and `.h5` (key `df_with_missing`), a row a frame.

    Columns have the levels scorer, bodyparts, coords, with individuals after scorer where there
    is more than one animal; hidden keypoints are missing.

    Returns:
        The paths of the CSV and of the HDF5 file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    xy = np.where(recording.visible[..., None], recording.keypoints_xy, np.nan)
    frames = len(xy)
    animals, names = xy.shape[1], list(recording.keypoint_names)
    levels = [[scorer], names, ["x", "y"]]
    level_names = ["scorer", "bodyparts", "coords"]
    if animals > 1:
        levels.insert(1, [f"animal{animal + 1}" for animal in range(animals)])
        level_names.insert(1, "individuals")
    columns = pd.MultiIndex.from_product(levels, names=level_names)
    digits = max(4, len(str(frames - 1)))
    index = pd.MultiIndex.from_tuples(
        [("labeled-data", directory.name, f"img{frame:0{digits}d}.png") for frame in range(frames)]
    )
    table = pd.DataFrame(xy.reshape(frames, -1).astype(np.float64), index=index, columns=columns)
    csv_path = directory / f"CollectedData_{scorer}.csv"
    h5_path = directory / f"CollectedData_{scorer}.h5"
    table.to_csv(csv_path)
    table.to_hdf(h5_path, key="df_with_missing", mode="w")
    return csv_path, h5_path


def write_behavior_labels(recording: Recording, path: Path) -> None:
    """Write DeepEthogram's CSV: frame index, `background`, one 0/1 column a behavior."""
    table = pd.DataFrame(recording.behaviors, columns=list(recording.behavior_names))
    table.insert(0, "background", 1 - recording.behaviors.max(axis=1))
    table.to_csv(path)

"""Poses as DeepLabCut writes them: `<video><scorer>.h5` and `.csv`, one row a frame.

Columns have the levels scorer, bodyparts, coords (x, y, likelihood), with individuals after
scorer where a bundle answers for several animals. Frames without a result are empty.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from service.results.atomic import replacing
from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults
from service.values import PoseColumns


def pose_path(out: Path, stem: str, bundle: AnsweredBundle, suffix: str) -> Path:
    """Path of the poses of one bundle; suffix is .h5 or .csv."""
    return out / f"{stem}{scorer_name(bundle)}{suffix}"


def scorer_name(bundle: AnsweredBundle) -> str:
    """Name of the scorer, such as `ethostream_openfield-mouse_v1`."""
    return f"ethostream_{bundle.name}_v{bundle.version}"


def write_h5(results: VideoResults, out: Path, stem: str) -> None:
    """Write one HDF5 file per pose bundle, key `df_with_missing`, as a PyTables table."""
    for bundle, poses in results.pose_answers():
        with replacing(pose_path(out, stem, bundle, ".h5")) as unfinished:
            pose_table(results, bundle, poses).to_hdf(
                unfinished, key="df_with_missing", mode="w", format="table"
            )


def write_csv(results: VideoResults, out: Path, stem: str) -> None:
    """Write one CSV per pose bundle, with one line a column level at the top."""
    for bundle, poses in results.pose_answers():
        with replacing(pose_path(out, stem, bundle, ".csv")) as unfinished:
            # Nine digits bring every float32 back exactly.
            pose_table(results, bundle, poses).to_csv(unfinished, float_format="%.9g")


def pose_table(results: VideoResults, bundle: AnsweredBundle, poses: PoseColumns) -> pd.DataFrame:
    """Return the poses of one bundle as DeepLabCut's table, float64, indexed by frame number."""
    assert bundle.pose is not None
    levels: list[list[str]] = [
        [scorer_name(bundle)],
        list(bundle.pose.keypoints),
        ["x", "y", "likelihood"],
    ]
    names = ["scorer", "bodyparts", "coords"]
    if bundle.pose.max_animals > 1:
        animals = [f"animal{animal + 1}" for animal in range(bundle.pose.max_animals)]
        levels.insert(1, animals)
        names.insert(1, "individuals")
    values = np.concatenate([poses.keypoints_xy, poses.confidence[..., None]], axis=-1)
    return pd.DataFrame(
        values.reshape(len(results), -1).astype(np.float64),
        index=pd.Index(results.frame_index),
        columns=pd.MultiIndex.from_product(levels, names=names),
    )

"""Video results as tables of pandas and labelled arrays of xarray, where those are installed."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ethostream.analysis import VideoResults
from ethostream.errors import PartMissing
from ethostream.values import BundleInfo, BundleVersion

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_LEVELS = ("bundle", "animal", "name", "value")


def to_pandas(results: VideoResults) -> "pd.DataFrame":
    """The table that `VideoResults.to_pandas` describes."""
    pandas = _require("pandas")
    infos = {info.bundle: info for info in results.bundles}
    columns: dict[tuple[str, str, str, str], Any] = {
        ("video", "", "", "pts_ns"): results.pts_ns,
        ("video", "", "", "status"): results.status,
    }
    for pose in results.poses:
        names = _keypoints(infos, pose.bundle)
        for animal in range(pose.confidence.shape[1]):
            for k, name in enumerate(names):
                key = (str(pose.bundle), f"animal{animal}", name)
                columns[(*key, "x_px")] = pose.keypoints_xy[:, animal, k, 0]
                columns[(*key, "y_px")] = pose.keypoints_xy[:, animal, k, 1]
                columns[(*key, "confidence")] = pose.confidence[:, animal, k]
    for behavior in results.behaviors:
        columns[(str(behavior.bundle), "", "", "status")] = behavior.status
        for c, name in enumerate(_behaviors(infos, behavior.bundle)):
            key = (str(behavior.bundle), "", name)
            columns[(*key, "probability")] = behavior.probabilities[:, c]
            columns[(*key, "present")] = behavior.present[:, c]
    index = pandas.Index(results.frame_index, name="frame_index")
    table: pd.DataFrame = pandas.DataFrame(columns, index=index)
    table.columns = pandas.MultiIndex.from_tuples(list(columns), names=_LEVELS)
    return table


def to_xarray(results: VideoResults) -> "xr.Dataset":
    """The dataset that `VideoResults.to_xarray` describes."""
    xarray = _require("xarray")
    infos = {info.bundle: info for info in results.bundles}
    variables: dict[str, Any] = {
        "pts_ns": ("frame", results.pts_ns),
        "status": ("frame", results.status),
    }
    coordinates: dict[str, Any] = {"frame": results.frame_index, "xy": ["x_px", "y_px"]}
    for pose in results.poses:
        name = pose.bundle.name
        axes = ("frame", f"{name}.animal", f"{name}.keypoint")
        variables[f"{name}.keypoints_xy"] = ((*axes, "xy"), pose.keypoints_xy)
        variables[f"{name}.confidence"] = (axes, pose.confidence)
        coordinates[axes[1]] = np.arange(pose.confidence.shape[1])
        coordinates[axes[2]] = list(_keypoints(infos, pose.bundle))
    for behavior in results.behaviors:
        name = behavior.bundle.name
        axes_2 = ("frame", f"{name}.behavior")
        variables[f"{name}.probability"] = (axes_2, behavior.probabilities)
        variables[f"{name}.present"] = (axes_2, behavior.present)
        variables[f"{name}.status"] = ("frame", behavior.status)
        coordinates[axes_2[1]] = list(_behaviors(infos, behavior.bundle))
    attributes = {
        "width_px": results.info.width_px,
        "height_px": results.info.height_px,
        "frame_rate_hz": results.info.frame_rate_hz,
        "bundles": [str(info.bundle) for info in results.bundles],
    }
    dataset: xr.Dataset = xarray.Dataset(variables, coordinates, attributes)
    return dataset


def _require(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PartMissing(
            f"{name} is not installed; run `pip install ethostream[views]`"
        ) from error


def _keypoints(infos: dict[BundleVersion, BundleInfo], bundle: BundleVersion) -> tuple[str, ...]:
    pose = infos[bundle].pose
    assert pose is not None
    return pose.keypoints


def _behaviors(infos: dict[BundleVersion, BundleInfo], bundle: BundleVersion) -> tuple[str, ...]:
    behavior = infos[bundle].behavior
    assert behavior is not None
    return behavior.behaviors

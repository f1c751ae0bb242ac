"""Mean and standard deviation of the color channels of videos, and of a project as a whole.

Written where DeepEthogram has them: stats.yaml of a video, augs.normalization of the project.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from service.errors import InvalidConfig
from service.results.atomic import replacing
from training.behavior_projects.config_file import change_config
from training.data.deepethogram import (
    STATS_NAME,
    ChannelStatistics,
    picture_files,
    read_deepethogram,
    read_statistics,
)
from training.data.labels import InvalidLabels, read_picture

DEFAULT_EVERY = 10


def measure_channels(video: Path, every: int = DEFAULT_EVERY) -> ChannelStatistics:
    """Look at every n-th frame of a video, or of a folder of pictures.

    Frames are decoded as they stream by; those between are not converted.

    Raises:
        InvalidConfig: `every` is below 1.
        InvalidLabels: the video cannot be decoded.
    """
    if every < 1:
        raise InvalidConfig(f"every {every}-th frame cannot be looked at; give 1 or more")
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for pixels in _every_nth(video, every):
        mean, std = cv2.meanStdDev(pixels)
        mean, std = mean[:, 0] / 255.0, std[:, 0] / 255.0
        count += 1
        total += mean
        squares += std * std + mean * mean
    if not count:
        raise InvalidLabels(f"{video} has no frame; restore it")
    mean = total / count
    return _statistics(count, mean, squares / count - mean * mean)


def merge_channels(found: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Join the statistics of videos as if all their frames had been looked at together.

    Each video counts by its frames. Variances are joined with the spread of the means (law of
    total variance); a mean of standard deviations, as DeepEthogram takes it, would be too small
    where videos differ in brightness.
    """
    weights = np.array([one.frames for one in found], np.float64)
    means = np.array([one.mean for one in found])
    variances = np.array([one.std for one in found]) ** 2
    mean = np.average(means, axis=0, weights=weights)
    variance = np.average(variances + (means - mean) ** 2, axis=0, weights=weights)
    return _statistics(int(weights.sum()), mean, variance)


def write_video_statistics(found: ChannelStatistics, folder: Path) -> Path:
    """Write stats.yaml of a video's folder."""
    path = folder / STATS_NAME
    with replacing(path) as unfinished:
        unfinished.write_text(yaml.safe_dump({"normalization": as_values(found)}), "utf-8")
    return path


def update_statistics(
    project: Path, *, every: int = DEFAULT_EVERY, again: bool = False
) -> tuple[dict[str, ChannelStatistics], ChannelStatistics]:
    """Measure the videos of a project and write stats.yaml and the project's normalization.

    Args:
        project: folder of a DeepEthogram project.
        every: which frames are looked at.
        again: measure videos that have a stats.yaml, too.

    Returns:
        The statistics of each video, and the joined ones.

    Raises:
        InvalidLabels: the project has no video, or one cannot be decoded.
    """
    found = {}
    for video in read_deepethogram(project).videos:
        if again or not (video.folder / STATS_NAME).is_file():
            found[video.name] = measure_channels(video.video, every)
            write_video_statistics(found[video.name], video.folder)
        else:
            found[video.name] = read_statistics(video.folder / STATS_NAME)
    if not found:
        raise InvalidLabels(f"{project} has no video; add some with `ethostream labels add-videos`")
    merged = merge_channels(list(found.values()))
    with change_config(project) as config:
        config.setdefault("augs", {})["normalization"] = as_values(merged)
    return found, merged


def as_values(found: ChannelStatistics) -> dict[str, object]:
    """The keys of DeepEthogram."""
    return {"N": found.frames, "mean": list(found.mean), "std": list(found.std)}


def _every_nth(video: Path, every: int) -> Iterator[NDArray[np.uint8]]:
    if video.is_dir():
        for path in picture_files(video)[::every]:
            yield read_picture(path)
        return
    try:
        with av.open(str(video)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise InvalidLabels(f"{video} cannot be decoded: {error}; restore it") from error


def _statistics(
    frames: int, mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> ChannelStatistics:
    red, green, blue = (round(float(one), 6) for one in mean)
    stds = np.sqrt(np.maximum(variance, 0.0))
    red_std, green_std, blue_std = (round(float(one), 6) for one in stds)
    return ChannelStatistics(frames, (red, green, blue), (red_std, green_std, blue_std))

"""The pictures of the demo: overlay video, ethogram and trajectory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.demo.truth import Truth, true_behaviors
from service.drawing import OverlayOptions, draw_ethogram, draw_overlay, draw_trajectory
from service.results import VideoResults
from service.video.pyav import VideoFile

_TRAIL_FRAMES = 20


def draw_all(
    video: Path,
    results: VideoResults,
    out: Path,
    *,
    truth: Truth | None,
    overlay: bool,
    on_frame: Callable[[int], None] | None = None,
) -> list[Path]:
    """Draw what the results allow, into `out`, and return the files.

    Args:
        video: the recording.
        results: what was found in it.
        out: folder.
        truth: of the recording; the ethogram shows it above the predictions.
        overlay: also draw overlay.mp4.
        on_frame: called with the number of frames of the overlay drawn so far.
    """
    files = []
    if overlay:
        files.append(out / "overlay.mp4")
        options = OverlayOptions(trail_frames=_TRAIL_FRAMES)
        draw_overlay(video, results, files[-1], options, on_frame=on_frame)
    behaviors = results.behavior_answers()
    for bundle, _ in behaviors:
        name = "ethogram.png" if len(behaviors) == 1 else f"ethogram_{bundle.name}.png"
        files.append(out / name)
        shown = true_behaviors(truth, results, bundle) if truth else None
        draw_ethogram(results, files[-1], shown, bundle=bundle.name)
    poses = results.pose_answers()
    for bundle, _ in poses:
        name = "trajectory.png" if len(poses) == 1 else f"trajectory_{bundle.name}.png"
        files.append(out / name)
        draw_trajectory(results, files[-1], bundle=bundle.name, background=_first_frame(video))
    return files


def _first_frame(video: Path) -> NDArray[np.uint8] | None:
    source = VideoFile(video)
    for row in source.rows():
        if row.picture is not None:
            pixels = np.empty(source.shape, np.uint8)
            source.convert(row.picture, pixels)
            return pixels
    return None

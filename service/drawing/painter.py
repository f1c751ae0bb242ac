"""One frame of the overlay: the frame, the animals on it, the behaviors below it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.drawing import colors
from service.drawing.panel import Panel
from service.drawing.poses import body_centers, draw_poses, draw_trail
from service.drawing.text import draw_text, text_width
from service.errors import InvalidRequest
from service.results import VideoResults
from service.results.provenance import AnsweredBundle

_MIN_WIDTH_PX = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOptions:
    """How the overlay looks."""

    confidence_cutoff: float | None = None
    """Points below it are not drawn; None takes each bundle's own."""
    trail_frames: int = 0
    """Frames over which the way of the animal's center is drawn; 0 draws none. Bundles that find
    several animals have no ways and no bones: their points are not grouped into animals."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.confidence_cutoff is not None and not 0 <= self.confidence_cutoff <= 1:
            raise InvalidRequest(f"the cut-off is {self.confidence_cutoff:g}; give one in [0, 1]")
        if self.trail_frames < 0:
            raise InvalidRequest(f"the trail is {self.trail_frames} frames; give at least 0")


class OverlayPainter:
    """Turns a frame of the video into a frame of the overlay, `size` px large."""

    def __init__(
        self, results: VideoResults, shape: tuple[int, ...], options: OverlayOptions
    ) -> None:
        """Take what is drawn.

        Args:
            results: of one video.
            shape: (H, W, 3) of its frames.
            options: how the overlay looks.
        """
        height_px, width_px = shape[:2]
        self._scale = max(1, -(-_MIN_WIDTH_PX // width_px))
        self._frame_size = (width_px * self._scale, height_px * self._scale)
        width = self._frame_size[0] + self._frame_size[0] % 2
        self._panel = Panel(results, width)
        height = self._frame_size[1] + self._panel.height_px
        self.size = (width, height + height % 2)
        """Width and height of the overlay, px, both even."""
        self._ground = np.full((*self.size[::-1], 3), colors.PANEL, np.uint8)
        self._results = results
        self._options = options
        self._unit = width / 640
        # A point is about 1/30 of a mouse that fills a fifth of the width.
        self._radius_px = max(2.5, 0.0055 * self._frame_size[0])
        self._centers = [
            body_centers(poses.keypoints_xy, poses.confidence, self._cutoff(bundle))
            for bundle, poses in results.pose_answers()
        ]

    def paint(self, pixels: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
        """Return the (H, W, 3) overlay of a frame, given its pixels and its row of the results."""
        canvas = self._ground.copy()
        frame_width, frame_height = self._frame_size
        picture = canvas[:frame_height, :frame_width]
        if self._scale > 1:
            pixels = cv2.resize(pixels, self._frame_size, interpolation=cv2.INTER_CUBIC)
        drawn = np.ascontiguousarray(pixels)
        self._draw_animals(drawn, row)
        self._draw_time(drawn, row)
        picture[:] = drawn
        canvas[frame_height : frame_height + self._panel.height_px] = self._panel.draw(row)
        return canvas

    def _draw_animals(self, image: NDArray[np.uint8], row: int) -> None:
        first_color = 0
        answers = self._results.pose_answers()
        for (bundle, poses), centers in zip(answers, self._centers, strict=True):
            assert bundle.pose is not None
            # Rows of several are the n-th best places of each keypoint, of any animal.
            is_grouped = bundle.pose.max_animals == 1
            if self._options.trail_frames and is_grouped:
                start = max(0, row - self._options.trail_frames)
                draw_trail(
                    image,
                    self._enlarged(centers[start : row + 1, 0]),
                    color=colors.series_color(4),
                    width_px=max(2, round(self._radius_px)),
                )
            names, bones = bundle.pose.keypoints, bundle.pose.skeleton if is_grouped else ()
            draw_poses(
                image,
                self._enlarged(poses.keypoints_xy[row]).astype(np.float32),
                poses.confidence[row],
                skeleton=[(names.index(one), names.index(two)) for one, two in bones],
                confidence_cutoff=self._cutoff(bundle),
                radius_px=self._radius_px,
                first_color=first_color,
            )
            first_color += len(names)

    def _draw_time(self, image: NDArray[np.uint8], row: int) -> None:
        """Write the frame's number and time on a dark plate in the top left corner."""
        results = self._results
        text = f"{_clock_text(float(results.pts_ns[row]) / 1e9)}   #{results.frame_index[row]}"
        size = max(9, round(12 * self._unit))
        edge = round(8 * self._unit)
        height = round(20 * self._unit)
        # As wide as eights, so that the plate does not change with the digits.
        wide = text_width("".join("8" if one.isdigit() else one for one in text), size_px=size)
        plate = image[edge : edge + height, edge : edge + wide + 2 * edge]
        plate[:] = (plate * 0.35 + np.array(colors.PANEL) * 0.65).astype(np.uint8)
        draw_text(image, text, 2 * edge, edge + height // 2, size_px=size, color=colors.TEXT)

    def _enlarged(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Positions in px of the enlarged frame; 0 is the center of the first pixel in both."""
        return (xy.astype(np.float64) + 0.5) * self._scale - 0.5

    def _cutoff(self, bundle: AnsweredBundle) -> float:
        assert bundle.pose is not None
        given = self._options.confidence_cutoff
        return bundle.pose.confidence_cutoff if given is None else given


def _clock_text(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes):d}:{seconds:05.2f}"

"""The labelled video: a recording with the points of a track on it, in constant memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.drawing.colors import series_color
from service.drawing.encode import open_video, suffix_of
from service.drawing.poses import draw_poses, draw_trail
from service.errors import InvalidConfig, InvalidRequest
from service.tracks.track import Track
from service.video.pyav import VideoFile


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledOptions:
    """How the labelled video looks."""

    cutoff: float = 0.6
    """Points of less confidence are left out."""
    color_by: Literal["keypoint", "animal"] = "keypoint"
    skeleton: bool = True
    """Draw the bones; never across detections that are not grouped into animals."""
    trail_frames: int = 0
    """Frames over which the way of each point is drawn; 0 draws none, detections have none."""
    keypoints_only: bool = False
    """Draw on black."""
    dot_px: float = 0.0
    """Radius of a point in px of the written picture; 0 takes 1/180 of its width."""
    codec: str = "h264"
    fps: float = 0.0
    """Frames a second of the written video; 0 keeps the times of the recording."""
    scale: float = 1.0
    """Size of the written picture by that of the recording, or of its crop."""
    crop_xywh: tuple[int, int, int, int] | None = None
    """Left, top, width and height in px of the part that is shown."""
    pictures: bool = False
    """Write each frame as a PNG, too, in a folder beside the video."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        suffix_of(self.codec)
        if not 0 <= self.cutoff <= 1:
            raise InvalidConfig(f"the cut-off is {self.cutoff:g}; give one in [0, 1]")
        if self.trail_frames < 0 or self.dot_px < 0 or self.fps < 0:
            raise InvalidConfig("trail, dot size and frame rate are at least 0")
        if not 0.05 <= self.scale <= 8:
            raise InvalidConfig(f"the scale is {self.scale:g}; give one from 0.05 to 8")


def draw_labelled(
    video: Path,
    track: Track,
    out: Path,
    options: LabelledOptions | None = None,
    *,
    on_frame: Callable[[int], None] | None = None,
) -> int:
    """Write `out`, the frames of the recording that the track has rows for.

    Args:
        video: the file that the track is of.
        track: what to draw.
        out: file to write; its ending is that of the codec, see `encode.suffix_of`.
        options: how it looks.
        on_frame: called with the number of frames drawn so far.

    Returns:
        The number of frames drawn; those without pixels are left out.

    Raises:
        InvalidRequest: the crop does not lie in the frame, the track has frames that the video
            has not, or none with pixels.
        InvalidVideo: the video cannot be read.
    """
    options = options or LabelledOptions()
    source = VideoFile(video)
    if track.frame_index.max(initial=-1) >= source.frames:
        raise InvalidRequest(
            f"{track.source} has frames up to {track.frame_index.max()}, but {video} has "
            f"{source.frames}; give the video that was analyzed"
        )
    painter = _Painter(track, source.shape, options)
    rows = {int(index): row for row, index in enumerate(track.frame_index)}
    pixels = np.empty(source.shape, np.uint8)
    rate_hz = options.fps or source.info.frame_rate_hz or track.frame_rate_hz
    drawn = 0
    with open_video(out, options.codec, rate_hz) as writer:
        # From the first frame on, since a file may not give exact frames where it is entered.
        for picture in source.rows(0, max(rows, default=-1) + 1):
            row = rows.get(picture.frame_index)
            if picture.picture is None or row is None:
                continue
            if options.keypoints_only:
                pixels[:] = 0
            else:
                source.convert(picture.picture, pixels)
            image = painter.paint(pixels, row)
            writer.write(image, drawn / options.fps if options.fps else picture.pts_ns * 1e-9)
            if options.pictures:
                folder = out.with_suffix("")
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / f"frame{picture.frame_index:06d}.png")
            drawn += 1
            if on_frame is not None:
                on_frame(drawn)
        if not drawn:
            raise InvalidRequest(f"no frame of {track.source} has pixels in {video}")
    return drawn


class _Painter:
    """Turns a frame of the recording into one of the labelled video."""

    def __init__(self, track: Track, shape: tuple[int, ...], options: LabelledOptions) -> None:
        height_px, width_px = shape[:2]
        left, top, width, height = options.crop_xywh or (0, 0, width_px, height_px)
        if not (
            left >= 0
            and top >= 0
            and width > 0
            and height > 0
            and left + width <= width_px
            and top + height <= height_px
        ):
            raise InvalidRequest(
                f"the crop {options.crop_xywh} does not lie in the frame of {width_px}x{height_px} "
                "px; give left, top, width and height inside it"
            )
        self._crop = (slice(top, top + height), slice(left, left + width))
        self._size = (max(1, round(width * options.scale)), max(1, round(height * options.scale)))
        scale_xy = np.array([self._size[0] / width, self._size[1] / height])
        # 0 is the center of the first pixel, before and after.
        xy = (track.keypoints_xy - np.array([left, top]) + 0.5) * scale_xy - 0.5
        self._xy = xy.astype(np.float32)
        self._confidence = track.confidence
        self._seen = track.seen(options.cutoff)
        self._options = options
        detections = track.animals > 1 and track.rows == "detections"
        linked = track.animals == 1 or track.rows == "animals"
        self._trail = options.trail_frames if linked else 0
        self._bones = track.places(track.skeleton) if options.skeleton and not detections else []
        self._radius_px = options.dot_px or max(2.0, self._size[0] / 180)

    def paint(self, pixels: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
        """Return the picture of one frame."""
        image = np.ascontiguousarray(pixels[self._crop])
        if self._size != (image.shape[1], image.shape[0]):
            how = cv2.INTER_AREA if self._options.scale < 1 else cv2.INTER_CUBIC
            image = np.asarray(cv2.resize(image, self._size, interpolation=how), np.uint8)
        elif image.base is not None or image is pixels:
            image = image.copy()
        by_animal = self._options.color_by == "animal"
        if self._trail:
            start = max(0, row - self._trail)
            path = np.where(
                self._seen[start : row + 1, ..., None], self._xy[start : row + 1], np.nan
            ).astype(np.float64)
            for animal, place in np.ndindex(*path.shape[1:3]):
                draw_trail(
                    image,
                    path[:, animal, place],
                    color=series_color(animal if by_animal else place),
                    width_px=max(1, round(self._radius_px * 0.6)),
                )
        draw_poses(
            image,
            self._xy[row],
            self._confidence[row],
            skeleton=self._bones,
            confidence_cutoff=self._options.cutoff,
            radius_px=self._radius_px,
            by_animal=by_animal,
        )
        return image

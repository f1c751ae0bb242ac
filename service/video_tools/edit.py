"""Writes a part of a video as a new file: of its area, its time, its px or its frames.

The file is decoded and encoded again (H.264 in MP4), so that cuts are exact to the frame and need
no key frame; sound is dropped. Frames go by one at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.preprocess import CropRegion
from service.results.atomic import replacing
from service.video.pyav import PictureRow, VideoFile

_CLOCK = Fraction(1, 90_000)  # fine enough for any frame rate, and MP4's usual one
_EARLY = 0.01
"""Share of a step that a frame may come before its time: containers round times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoEdit:
    """What to take of a video; all is applied in this order."""

    start_s: float | None = None
    """First time that is kept, s from the first frame; or give `start_frame`."""
    stop_s: float | None = None
    """First time that is not kept any more."""
    start_frame: int | None = None
    stop_frame: int | None = None
    """First frame that is not kept any more."""
    crop: CropRegion | None = None
    width_px: int = 0
    """Size of the new frames; 0 keeps it."""
    height_px: int = 0
    frame_rate_hz: float = 0.0
    """Frames a second to keep, below the video's own; 0 keeps all."""
    quality: int = 18
    """H.264's constant rate factor, 0 (lossless) to 51; 18 shows no loss to the eye."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for begin, end in ((self.start_s, self.stop_s), (self.start_frame, self.stop_frame)):
            if not (begin or 0) >= 0 or (end is not None and not end > (begin or 0)):
                raise InvalidRequest(
                    f"from {begin or 0:g} to {end or 0:g} holds no frame; give a start of at least "
                    "0 and a later stop"
                )
        if not 0 <= self.quality <= 51:
            raise InvalidRequest(f"the quality is {self.quality}; give 0 (best) to 51")
        if not 0 <= self.frame_rate_hz < float("inf"):
            raise InvalidRequest(f"the frame rate is {self.frame_rate_hz} Hz; give more than 0")
        if min(self.width_px, self.height_px) < 0 or bool(self.width_px) != bool(self.height_px):
            raise InvalidRequest(
                f"the size is {self.width_px}x{self.height_px} px; give both of at least 2"
            )


@dataclass(frozen=True, slots=True)
class EditReport:
    """What was written."""

    out: Path
    frames: int
    frames_left_out: int
    """Damaged or missing frames of the stretch, which have no pixels."""
    width_px: int
    height_px: int


def edit_video(
    video: Path,
    out: Path,
    edit: VideoEdit,
    *,
    overwrite: bool = False,
    on_frame: Callable[[int, int], None] | None = None,
) -> EditReport:
    """Write `out`, whole or not at all.

    Args:
        video: the file.
        out: MP4 to write.
        edit: what to take.
        overwrite: replace `out` where it exists.
        on_frame: called with the number of frames read so far and about that of all.

    Raises:
        VideoNotFound: there is no such file.
        InvalidVideo: no frame of it can be decoded.
        InvalidRequest: `out` exists or is the video itself, or the video has no such part.
    """
    if out.exists() and (not overwrite or (video.exists() and out.samefile(video))):
        raise InvalidRequest(
            f"{out} exists already; choose another --out, or give --overwrite (a video is never "
            "replaced by a part of itself)"
        )
    source = VideoFile(video)
    width_px, height_px = _new_size(video, source, edit)
    first = edit.start_frame or 0
    last = min(source.frames, edit.stop_frame or source.frames)
    pacer = _Pacer(video, source, edit)
    pixels = np.empty(source.shape, np.uint8)
    kept = left_out = 0
    with replacing(out) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        rate = Fraction(edit.frame_rate_hz or source.info.frame_rate_hz or 30.0)
        stream = container.add_stream(
            "libx264",
            rate=rate.limit_denominator(1001),
            options={"crf": str(edit.quality), "preset": "veryfast"},
        )
        stream.width, stream.height = width_px, height_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        for number, row in enumerate(source.rows(first, max(0, last - first)), start=1):
            if on_frame is not None:
                on_frame(number, last - first)
            if pacer.is_past(row):
                break
            tick = pacer.tick(row)
            if tick is None:
                continue
            if row.picture is None:
                left_out += 1
                continue
            source.convert(row.picture, pixels)
            frame = av.VideoFrame.from_ndarray(
                _changed(pixels, edit.crop, width_px, height_px), format="rgb24"
            )
            frame.pts, frame.time_base = tick, _CLOCK
            container.mux(stream.encode(frame))
            kept += 1
        if not kept:
            raise InvalidRequest(
                f"{video} has {source.frames} frames and none of them is in the part that was "
                "asked for; choose another"
            )
        container.mux(stream.encode(None))
    return EditReport(out, kept, left_out, width_px, height_px)


class _Pacer:
    """Which rows are kept, and their times in the new file, which begins at 0."""

    def __init__(self, video: Path, source: VideoFile, edit: VideoEdit) -> None:
        rate_hz = source.info.frame_rate_hz
        if edit.frame_rate_hz and rate_hz and edit.frame_rate_hz > rate_hz * (1 + _EARLY):
            raise InvalidRequest(
                f"{video} has {rate_hz:g} frames a second; give --frame-rate below it, not "
                f"{edit.frame_rate_hz:g}"
            )
        self._edit = edit
        self._video_ns: int | None = None
        self._step_ns = 1e9 / edit.frame_rate_hz if edit.frame_rate_hz else 0.0
        # Times are compared with half a frame of slack, so that rounded ones count as they read.
        self._slack_ns = 0.5e9 / rate_hz if rate_hz else 0.0
        self._begin_ns: int | None = None
        self._kept = 0
        self._last_tick = -1

    def is_past(self, row: PictureRow) -> bool:
        """Whether a row comes after the last one to keep."""
        stop_s = self._edit.stop_s
        return stop_s is not None and self._time_ns(row) >= stop_s * 1e9 - self._slack_ns

    def tick(self, row: PictureRow) -> int | None:
        """Time of a row in the new file; None where it is left out."""
        time_ns = self._time_ns(row)
        if time_ns < (self._edit.start_s or 0) * 1e9 - self._slack_ns:
            return None
        if self._begin_ns is None:
            self._begin_ns = time_ns
        since_ns = time_ns - self._begin_ns
        if self._step_ns:
            if since_ns < (self._kept - _EARLY) * self._step_ns:
                return None
            # After a gap, go on at the frame's own place of the new rate.
            self._kept = max(self._kept, int(since_ns / self._step_ns + _EARLY))
            since_ns = round(self._kept * self._step_ns)
            self._kept += 1
        # Damaged files repeat times; a video's times must rise.
        self._last_tick = max(self._last_tick + 1, round(since_ns * 1e-9 / _CLOCK))
        return self._last_tick

    def _time_ns(self, row: PictureRow) -> int:
        """Time since the first row of the file that was seen."""
        if self._video_ns is None:
            # Reading may begin later; the frame's number tells when the file began.
            per_frame = 2 * self._slack_ns
            self._video_ns = row.pts_ns - round(row.frame_index * per_frame)
        return row.pts_ns - self._video_ns


def _new_size(video: Path, source: VideoFile, edit: VideoEdit) -> tuple[int, int]:
    frame_height_px, frame_width_px = source.shape[:2]
    region = edit.crop or CropRegion(0, 0, frame_width_px, frame_height_px)
    if (
        region.x_px + region.width_px > frame_width_px
        or region.y_px + region.height_px > frame_height_px
    ):
        raise InvalidRequest(
            f"the crop {region.width_px}x{region.height_px} at ({region.x_px}, {region.y_px}) px "
            f"is not inside the {frame_width_px}x{frame_height_px} frames of {video}"
        )
    width_px = edit.width_px or region.width_px
    height_px = edit.height_px or region.height_px
    if width_px > region.width_px or height_px > region.height_px:
        raise InvalidRequest(
            f"{width_px}x{height_px} px is more than the {region.width_px}x{region.height_px} px "
            f"of {video}; more px would show nothing new"
        )
    even = (width_px - width_px % 2, height_px - height_px % 2)
    is_asked = edit.crop is not None or edit.width_px > 0
    if min(even) < 2 or (is_asked and even != (width_px, height_px)):
        raise InvalidRequest(
            f"H.264 holds an even width and height, not {width_px}x{height_px} px; give "
            f"{max(2, even[0])}x{max(2, even[1])}"
        )
    return even


def _changed(
    pixels: NDArray[np.uint8], crop: CropRegion | None, width_px: int, height_px: int
) -> NDArray[np.uint8]:
    """Crop and shrink (H, W, 3); an odd last row or column of a whole frame is cut off."""
    part = pixels
    if crop is not None:
        part = pixels[crop.y_px : crop.y_px + crop.height_px, crop.x_px : crop.x_px + crop.width_px]
    height, width = part.shape[:2]
    if width - width_px <= 1 and height - height_px <= 1:
        return np.ascontiguousarray(part[:height_px, :width_px])
    shrunk = cv2.resize(part, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)

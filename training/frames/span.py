"""The part of a video to pick frames from: its ends as shares of the video or in seconds."""

import math
from dataclasses import dataclass

from service.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a video whose length is not known yet."""

    value: float
    in_seconds: bool
    """True: `value` is in s from the beginning; False: a share of the video in [0, 1]."""

    def __str__(self) -> str:
        """Show as it is written."""
        return f"{self.value:g}{'s' if self.in_seconds else ''}"


START, STOP = Moment(0.0, in_seconds=False), Moment(1.0, in_seconds=False)


def parse_moment(text: str) -> Moment:
    """Read a moment: `0.25` is a share of the video, `30s` is in seconds, `25%` a share, too.

    Raises:
        InvalidRequest: it is neither, or outside its range.
    """
    cleaned = text.strip()
    in_seconds = cleaned.endswith("s")
    try:
        value = float(cleaned.rstrip("s%"))
    except ValueError:
        value = math.nan
    value = value / 100 if cleaned.endswith("%") else value
    if not (0 <= value < math.inf if in_seconds else 0 <= value <= 1):
        raise InvalidRequest(
            f"{text!r} is no moment of a video; write a share of it such as 0.25, or seconds "
            "such as 30s"
        )
    return Moment(value, in_seconds)


def frames_between(
    start: Moment, stop: Moment, *, frames: int, frame_rate_hz: float, video: str
) -> range:
    """Return the indices of the frames from `start` to `stop`.

    Args:
        start: first moment; the frame that is shown then belongs to the span.
        stop: the span ends before the first frame after it, or with the video.
        frames: length of the video.
        frame_rate_hz: its average rate; 0 where it is not known.
        video: its name, for messages.

    Raises:
        InvalidRequest: the span holds no frame, or seconds are asked for without a frame rate.
    """
    first = math.floor(_place(start, frames, frame_rate_hz, video))
    end = min(math.ceil(_place(stop, frames, frame_rate_hz, video)), frames)
    if first >= end:
        length = f", {frames / frame_rate_hz:.1f} s" if frame_rate_hz else ""
        raise InvalidRequest(
            f"{video} has {frames} frames{length}: there is none from {start} to {stop}; give "
            "another --start and --stop"
        )
    return range(first, end)


def _place(moment: Moment, frames: int, frame_rate_hz: float, video: str) -> float:
    if not moment.in_seconds:
        return moment.value * frames
    if not frame_rate_hz:
        raise InvalidRequest(
            f"{video} does not say its frame rate, so {moment} is no frame of it; give a share of "
            "the video, such as 0.25"
        )
    return moment.value * frame_rate_hz

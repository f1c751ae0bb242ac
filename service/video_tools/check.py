"""Decodes a video from end to end and says what of it is sound, in constant memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.values import FrameStatus, VideoInfo
from service.video.base import FrameFault
from service.video.pyav import VideoFile

_MAX_FAULTS = 100
_TOLERANCE = 0.1
"""Times are often rounded to ms; a step counts as uneven from this share of a step on."""


@dataclass(frozen=True, slots=True)
class VideoCheck:
    """What decoding a whole file showed."""

    info: VideoInfo
    frames_by_container: int
    """What its header claims; 0 where it does not say."""
    frames_by_packet: int
    """Shown packets that it holds."""
    frames_decodable: int
    """Frames with pixels that can be trusted."""
    frames_damaged: int
    frames_missing: int
    """Listed by the container after the end of the data."""
    faults: tuple[FrameFault, ...]
    """The first 100 frames without pixels."""
    shortest_step_ns: int
    """Between two frames; 0 where there are fewer than two."""
    longest_step_ns: int
    uneven_steps: int
    """Steps that differ from the median of the first second by more than a tenth of it."""
    duration_ns: int
    """From the first frame to the last."""

    @property
    def is_variable_rate(self) -> bool:
        """Whether frames do not come at even times."""
        return self.uneven_steps > 0

    @property
    def claims_truly(self) -> bool:
        """Whether the container claims the number of frames that it has, or none."""
        return self.frames_by_container in (0, self.frames_by_packet)

    @property
    def is_sound(self) -> bool:
        """Whether every frame can be decoded and none is missing."""
        return not (self.frames_damaged or self.frames_missing)


def check_video(
    video: Path, *, on_frame: Callable[[int, int], None] | None = None, threads: int = 1
) -> VideoCheck:
    """Decode every frame of a file.

    Args:
        video: the file.
        on_frame: called with the number of frames read so far and that of all.
        threads: of the decoder.

    Raises:
        VideoNotFound: there is no such file.
        InvalidVideo: no frame of it can be decoded.
        FrameTooLarge: its pictures are over the limits.
    """
    file = VideoFile(video, threads=threads)
    counts = dict.fromkeys(FrameStatus, 0)
    faults: list[FrameFault] = []
    steps = _Steps(file.info.frame_rate_hz)
    for number, row in enumerate(file.rows(), start=1):
        counts[row.status] += 1
        if row.picture is None and len(faults) < _MAX_FAULTS:
            faults.append(FrameFault(row.frame_index, row.status, row.reason))
        if row.status is not FrameStatus.MISSING:
            steps.add(row.pts_ns)
        if on_frame is not None:
            on_frame(number, file.frames)
    steps.close()
    return VideoCheck(
        info=file.info,
        frames_by_container=file.info.claimed_frames,
        frames_by_packet=sum(counts.values()) - counts[FrameStatus.MISSING],
        frames_decodable=counts[FrameStatus.OK] + counts[FrameStatus.REPEATED],
        frames_damaged=counts[FrameStatus.CORRUPT],
        frames_missing=counts[FrameStatus.MISSING],
        faults=tuple(faults),
        shortest_step_ns=steps.shortest,
        longest_step_ns=steps.longest,
        uneven_steps=steps.uneven,
        duration_ns=steps.duration,
    )


class _Steps:
    """Steps between presentation times; the usual one is taken from the first of them."""

    def __init__(self, frame_rate_hz: float) -> None:
        # One second of frames is enough to know the usual step; odd, so that the median is one.
        self._sample = max(1, min(1001, 2 * (round(frame_rate_hz or 30) // 2) + 1))
        self._first: list[int] = []
        self._usual = 0
        self._begin: int | None = None
        self._last = 0
        self.shortest = 0
        self.longest = 0
        self.uneven = 0

    @property
    def duration(self) -> int:
        """Time from the first to the last frame, ns."""
        return 0 if self._begin is None else self._last - self._begin

    def add(self, pts_ns: int) -> None:
        """Take the time of the next frame."""
        if self._begin is None:
            self._begin = self._last = pts_ns
            return
        step, self._last = pts_ns - self._last, pts_ns
        self.shortest = min(self.shortest or step, step)
        self.longest = max(self.longest, step)
        if self._usual:
            self._judge(step)
            return
        self._first.append(step)
        if len(self._first) >= self._sample:
            self.close()

    def close(self) -> None:
        """Judge the steps that were kept back."""
        if self._first:
            self._usual = sorted(self._first)[len(self._first) // 2]
            for step in self._first:
                self._judge(step)
            self._first.clear()

    def _judge(self, step: int) -> None:
        self.uneven += abs(step - self._usual) > max(1_000_000, _TOLERANCE * self._usual)

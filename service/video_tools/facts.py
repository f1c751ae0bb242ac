"""What the container and the packets of a video say, before anything but one frame is decoded."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.video.base import VideoLimits
from service.video.containers import find_video, open_container
from service.video.packets import DAMAGED, DISCARD, HIDDEN, KEY, LOST, PacketIndex
from service.video.pyav import VideoFile

_MAX_GAPS = 100
# A step counts as uneven from this share of the usual one on.
_TOLERANCE = 0.1
# From this share on, a frame more would have fitted between two.
_GAP = 1.5
# Gaps in more than this share of the frames are a variable rate.
_OFTEN = 0.1


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What the header says, and the first frame."""

    format: str
    """FFmpeg's name of the container."""
    codec: str
    pixel_format: str
    width_px: int
    """As stored, before rotation."""
    height_px: int
    rotation_deg: int
    """Counterclockwise, 0, 90, 180 or 270; applied to every frame that is decoded."""
    sample_aspect: str
    """Width to height of a px, such as 4:3; not applied: frames are the stored grid."""
    is_interlaced: bool
    frame_rate_hz: float
    """Average; 0 where it does not say."""
    frames: int
    """What it claims; 0 where it does not say."""
    duration_s: float
    """0 where it does not say."""


@dataclass(frozen=True, slots=True)
class TimeGap:
    """A step in which a frame more would have had its place."""

    frame_index: int
    """Of the first frame after it."""
    step_ns: int


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """What the packets are, and the times of the frames."""

    packets: int
    frames: int
    """Packets that are shown and there."""
    key_frames: int
    longest_group: int
    """Packets from one key frame to the next, at most: what a start in the middle may cost."""
    is_reordered: bool
    """Frames are stored in another order than shown (B-frames)."""
    frame_rate_hz: float
    """Average that a job works with: the container's, where the times do not belie it."""
    has_times: bool
    """False where frames are numbered in the decoder's order and timed by the frame rate."""
    cut: int
    """Hidden by an edit list: decoded, not shown."""
    hidden: int
    """Hold no picture that is shown, by the codec's design."""
    damaged: int
    """Bytes are missing, says the container, or frames before them, says the codec."""
    missing: int
    """Frames that the container lists and the file does not hold."""
    is_cut_off: bool
    """The file ends before its container says, whether that lists frames or not."""
    first_time_ns: int
    duration_ns: int
    """From the first frame to the last."""
    usual_step_ns: int
    """Between two frames; this and all below are 0 where there are fewer than two times."""
    shortest_step_ns: int
    longest_step_ns: int
    uneven_steps: int
    """Steps that differ from the usual one by more than a tenth and the clock's rounding."""
    equal_times: int
    """Frames with the time of the frame before."""
    gaps: int
    """Steps in which a frame more would have had its place."""
    frames_in_gaps: int
    """About how many frames would have had one."""
    first_gaps: tuple[TimeGap, ...]
    """The first 100."""

    @property
    def is_variable_rate(self) -> bool:
        """Whether frames come at uneven times, other than by a gap now and then."""
        is_often = self.uneven_steps > _OFTEN * self.frames
        return is_often or self.uneven_steps > self.gaps + self.equal_times


def read_facts(video: Path) -> tuple[ContainerFacts, PacketFacts]:
    """Read all packets of a video, and decode its first frame.

    Raises:
        VideoNotFound: there is no such file.
        InvalidVideo: no frame of it can be decoded.
        FrameTooLarge: its pictures are over the limits.
    """
    file = VideoFile(video)
    with open_container(video, VideoLimits()) as container:
        stream = find_video(container, video)
        tick_s = stream.time_base or Fraction(1)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        duration_s = float(stream.duration * tick_s) if stream.duration else 0.0
        facts = ContainerFacts(
            format=container.format.name,
            codec=file.info.codec,
            pixel_format=file.stored.pixel_format,
            width_px=file.stored.width_px,
            height_px=file.stored.height_px,
            rotation_deg=90 * file.quarter_turns,
            sample_aspect=f"{aspect.numerator}:{aspect.denominator}",
            is_interlaced=file.stored.is_interlaced,
            frame_rate_hz=round(float(stream.average_rate or 0), 6),
            frames=stream.frames,
            duration_s=duration_s or (container.duration or 0) / 1e6,
        )
    return facts, _packet_facts(file.index, tick_s * 1_000_000_000, file.info.frame_rate_hz)


def _packet_facts(index: PacketIndex, tick_ns: Fraction, frame_rate_hz: float) -> PacketFacts:
    def count(flag: int) -> int:
        return int(np.count_nonzero(index.flags & flag))

    keys = np.flatnonzero(index.flags & KEY)
    groups = np.diff(np.append(keys, len(index.flags)))
    times_ns = index.times.astype(np.float64) * float(tick_ns)
    steps = _judge_steps(times_ns, float(tick_ns))
    return PacketFacts(
        packets=len(index.flags),
        frames=len(index.shown) - count(LOST),
        key_frames=len(keys),
        longest_group=int(groups.max()) if len(groups) else len(index.flags),
        is_reordered=bool(np.any(np.diff(index.pts[np.sort(index.shown)]) < 0)),
        frame_rate_hz=round(frame_rate_hz, 6),
        has_times=len(times_ns) > 0,
        cut=count(DISCARD),
        hidden=count(HIDDEN),
        damaged=count(DAMAGED),
        missing=index.missing + count(LOST),
        is_cut_off=index.is_cut_off,
        first_time_ns=round(times_ns[0]) if len(times_ns) else 0,
        duration_ns=round(times_ns[-1] - times_ns[0]) if len(times_ns) else 0,
        usual_step_ns=round(steps.usual),
        shortest_step_ns=round(steps.shortest),
        longest_step_ns=round(steps.longest),
        uneven_steps=steps.uneven,
        equal_times=steps.equal,
        gaps=len(steps.gaps),
        frames_in_gaps=steps.frames_in_gaps,
        first_gaps=tuple(
            TimeGap(int(place) + 1, round(step)) for place, step in steps.gaps[:_MAX_GAPS]
        ),
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    usual: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    uneven: int = 0
    equal: int = 0
    frames_in_gaps: int = 0
    gaps: tuple[tuple[int, float], ...] = ()


def _judge_steps(times_ns: NDArray[np.float64], tick_ns: float) -> _Steps:
    steps = np.diff(times_ns)
    if not len(steps):
        return _Steps()
    # One that occurs: between two that are equally frequent lies none.
    usual = float(np.percentile(steps, 50, method="lower"))
    rounding = _rounding(times_ns, steps, usual, tick_ns)
    near = np.abs(steps - usual) <= max(_TOLERANCE * usual, rounding)
    usual = float(steps[near].mean())
    uneven = np.abs(steps - usual) > max(_TOLERANCE * usual, rounding)
    wide = np.flatnonzero(uneven & (steps > _GAP * usual))
    return _Steps(
        usual=usual,
        shortest=float(steps.min()),
        longest=float(steps.max()),
        uneven=int(np.count_nonzero(uneven)),
        equal=int(np.count_nonzero(steps == 0)),
        frames_in_gaps=int(np.round(steps[wide] / usual - 1).sum()) if usual else 0,
        gaps=tuple((int(place), float(steps[place])) for place in wide),
    )


def _rounding(
    times_ns: NDArray[np.float64], steps: NDArray[np.float64], usual: float, tick_ns: float
) -> float:
    """Return by how much two frames at an even rate may seem uneven, ns.

    Many files hold times that were rounded to ms before; nearly equal steps show that the rate
    fits the clock.
    """
    if np.mean(np.abs(steps - usual) < 1) >= 0.9:
        return 0.0
    is_whole_ms = bool(np.all(np.abs(times_ns / 1e6 - np.round(times_ns / 1e6)) < 1e-5))
    return max(tick_ns, 1e6) if is_whole_ms else tick_ns

"""The barcode corpus: small videos of every kind that labs have, whose frames show their number.

Each is encoded and muxed here, by the encoders of PyAV's wheel, so that nothing is shipped and what
every frame must show and when is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.service.video.barcode import draw_barcode

RATE_HZ = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One video of the corpus."""

    name: str
    ending: str = "mp4"
    encoder: str = "libx264"
    codec: str = "h264"
    """As decoders call it."""
    pix_fmt: str = "yuv420p"
    size_px: tuple[int, int] = (96, 64)
    """Width and height as shown, after rotation."""
    frames: int = 40
    """Frames that are encoded."""
    options: Mapping[str, str] = field(default_factory=dict)
    muxer: Mapping[str, str] = field(default_factory=dict)
    ticks: tuple[int, ...] | None = None
    """Time of each frame in ticks; None counts up from 0."""
    tick_s: Fraction = Fraction(1, RATE_HZ)
    rotation_deg: int = 0
    """Counterclockwise, that the container asks for."""
    change: Callable[[Path, Path], None] | None = None
    """Makes the file from the one that was encoded."""
    shown: range | None = None
    """Numbers of the frames that are to be seen; None: all."""
    shift_ticks: int = 0
    """What `change` adds to the times."""
    shifts_times: bool = False
    """The muxer moves all times by one amount."""
    clock_s: Fraction | None = Fraction(1, 90_000)
    """Step of the container's clock; None where it has none."""

    def __str__(self) -> str:
        """Show the name, for the names of tests."""
        return self.name

    @property
    def numbers(self) -> list[int]:
        """What frame 0, 1, ... must show."""
        return list(self.shown or range(self.frames))

    @property
    def times_s(self) -> list[Fraction]:
        """When they are shown."""
        ticks = self.ticks or range(self.frames)
        return [(ticks[number] + self.shift_ticks) * self.tick_s for number in self.numbers]


def write_clip(clip: Clip, folder: Path) -> Path:
    """Make the file of a clip."""
    path = folder / f"{clip.name.replace(' ', '_').replace('/', '_')}.{clip.ending}"
    made = path if clip.change is None else folder / f"{path.stem}.encoded.{clip.ending}"
    write_video(
        made,
        frames=clip.frames,
        codec=clip.encoder,
        pix_fmt=clip.pix_fmt,
        size=clip.size_px,
        options=clip.options,
        muxer=clip.muxer,
        pts=clip.ticks,
        tick_s=clip.tick_s,
        rotation_deg=clip.rotation_deg,
    )
    if clip.change is not None:
        clip.change(made, path)
        made.unlink()
    return path


def write_video(
    path: Path,
    *,
    frames: int = 40,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (96, 64),
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    pts: Sequence[int] | None = None,
    tick_s: Fraction = Fraction(1, RATE_HZ),
    rotation_deg: int = 0,
    format: str | None = None,
    **attributes: int,
) -> Path:
    """Encode frames that show 0, 1, 2, ... upright at `size`; `pts` in ticks."""
    turned = rotation_deg % 180 != 0
    with av.open(str(path), "w", format=format, options=dict(muxer or {})) as container:
        stream = container.add_stream(codec, rate=1 / tick_s, options=dict(options or {}))
        stream.width, stream.height = size[::-1] if turned else size
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for number in range(frames):
            image = np.rot90(draw_barcode(number, *size), -rotation_deg // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame = frame.reformat(format=pix_fmt)
            for name, value in attributes.items():
                setattr(frame, name, value)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = tick_s
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(
    source: Path,
    target: Path,
    *,
    first_packet: int = 0,
    shift_ticks: int = 0,
    muxer: Mapping[str, str] | None = None,
) -> None:
    """Copy the packets from `first_packet` on, `shift_ticks` of 1/30 s later."""
    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options=dict(muxer or {})) as write,
    ):
        stream = write.add_stream_from_template(read.streams.video[0])
        for place, packet in enumerate(read.demux(video=0)):
            if packet.size == 0 or place < first_packet:
                continue
            shift = int(Fraction(shift_ticks, RATE_HZ) / packet.time_base)
            packet.pts += shift
            packet.dts += shift
            packet.stream = stream
            write.mux(packet)

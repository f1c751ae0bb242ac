"""What every decoder of files offers, whichever library reads the video."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import InputSpec
from service.errors import FrameTooLarge, InvalidConfig
from service.values import FrameFault, FrameStatus, VideoFrame, VideoInfo

if TYPE_CHECKING:  # whoever decodes whole frames on the CPU does without them
    from service.engine.device import Array
    from service.preprocess import CropRegion

Pixels = NDArray[np.uint8]
Color = Literal["rgb", "gray"]
ChunkCodec = Literal["h264", "hevc", "mjpeg"]


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """The largest picture that is decoded."""

    max_width_px: int = 8192
    max_height_px: int = 8192
    max_pixels: int = 8192 * 4320
    """Width x height; keeps one frame at 106 MB of RGB at most."""

    def __post_init__(self) -> None:
        """Refuse limits that no picture meets."""
        for name in ("max_width_px", "max_height_px", "max_pixels"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; give at least 1")

    def check(self, what: str, width_px: int, height_px: int) -> None:
        """Refuse a picture over the limits; `what` names it in the message.

        Raises:
            FrameTooLarge: width, height or their product is over its limit.
        """
        if width_px > self.max_width_px or height_px > self.max_height_px:
            raise FrameTooLarge(
                f"{what} is {width_px}x{height_px} px, over the limit of "
                f"{self.max_width_px}x{self.max_height_px} px; scale it down or raise the limit"
            )
        if width_px * height_px > self.max_pixels:
            raise FrameTooLarge(
                f"{what} is {width_px}x{height_px} = {width_px * height_px} pixels, over the limit "
                f"of {self.max_pixels}; scale it down or raise the limit"
            )


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """How the pictures of a file are stored, as its first one tells."""

    pixel_format: str
    """FFmpeg's name, such as yuv420p."""
    width_px: int
    height_px: int
    matrix: int
    """AVCOL_SPC_ number of the color matrix; 2 where the stream names none."""
    color_range: int
    """AVCOL_RANGE_ number; 0 where the stream names none."""
    is_interlaced: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of a video's pictures."""

    color: Color | None = "rgb"
    """Of whole pictures; None where only `inputs` are wanted."""
    inputs: tuple[InputSpec, ...] = ()
    """Of models."""
    crop: "CropRegion | None" = None
    """Part of the upright picture that `inputs` show; None takes all of it."""
    on_device: bool = False
    """Leave `inputs` on the GPU where a decoder makes them there."""

    @property
    def has_color(self) -> bool:
        """Whether anything but gray is wanted."""
        return self.color == "rgb" or any(one.color == "rgb" for one in self.inputs)


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What a decoder makes of a picture that resizes on its own device."""

    arrays: "tuple[Array, ...]"
    """(h, w, C) of each input that was asked for, on the host or where it was made."""

    def on_host(self) -> tuple[NDArray[np.uint8], ...]:
        """Return them in memory of the host."""
        return tuple(
            one if isinstance(one, np.ndarray) else np.asarray(one.to_host(), np.uint8)
            for one in self.arrays
        )


def describe_faults(faults: Sequence[FrameFault], counts: Mapping[FrameStatus, int]) -> str:
    """Return one line on rows without pixels; empty where all have some.

    Args:
        faults: at least the first.
        counts: rows by status.
    """
    if not faults:
        return ""
    told = ", ".join(
        f"{number} {status.name}"
        for status, number in sorted(counts.items())
        if number and not status.has_pixels
    )
    first = faults[0]
    return f"{told} of {sum(counts.values())} frames; frame {first.frame_index} {first.reason}"


class VideoReader(Protocol):
    """An open video: its rows in presentation order, each under its own index.

    A damaged or missing frame is a row without pixels; it never shifts those after it and never
    ends the reading. Rotation that the container asks for (in steps of 90 degrees) is applied, the
    sample aspect ratio is not: pixels are the stored grid.
    """

    @property
    def info(self) -> VideoInfo:
        """What is known before the frames are read; width and height are after rotation."""
        ...

    @property
    def faults(self) -> tuple[FrameFault, ...]:
        """The first 100 rows read so far that have no pixels, with the reason."""
        ...

    @property
    def message(self) -> str:
        """One line on the rows read so far that have no pixels; empty where all have some."""
        ...

    def __aiter__(self) -> AsyncIterator[VideoFrame]:
        """Return the rows.

        A row's `inputs` are the caller's own. Its `pixels` lie in memory that the decoder writes
        again: they are valid until the next step of the iteration, or the end of the reader.
        """
        ...

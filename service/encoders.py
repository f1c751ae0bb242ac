"""How videos are encoded, wherever the service writes one: recordings, drawings, benchmarks."""

from dataclasses import dataclass

from service.errors import InvalidConfig


@dataclass(frozen=True, slots=True)
class Encoder:
    """What FFmpeg is asked for."""

    name: str
    container: str
    suffix: str
    pixel_format: str
    options: dict[str, str]
    even_size: bool = False
    """Whether width and height must be even."""


ENCODERS = {
    # One thread: the encoder shares its core with rendering, and output is the same everywhere.
    "h264": Encoder(
        "libx264",
        "mp4",
        ".mp4",
        "yuv420p",
        {"crf": "24", "preset": "superfast", "bf": "2", "threads": "1"},
        even_size=True,
    ),
    "hevc": Encoder(
        "libx265",
        "mp4",
        ".mp4",
        "yuv420p",
        {"crf": "22", "preset": "ultrafast", "tag": "hvc1", "x265-params": "log-level=error"},
        even_size=True,
    ),
    # Quality 3 of 2 to 31, in FFmpeg's units of 1/118: PyAV leaves the command's own `-q:v 3` out.
    "mjpeg": Encoder(
        "mjpeg", "avi", ".avi", "yuvj420p", {"flags": "+qscale", "global_quality": str(3 * 118)}
    ),
    "vp9": Encoder(
        "libvpx-vp9",
        "webm",
        ".webm",
        "yuv420p",
        {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
    ),
    "ffv1": Encoder("ffv1", "matroska", ".mkv", "bgr0", {"level": "3"}),
}
CODEC_NAMES = tuple(ENCODERS)


def find_encoder(codec: str) -> Encoder:
    """Return the encoder of a codec.

    Raises:
        InvalidConfig: an unknown codec.
    """
    if codec not in ENCODERS:
        raise InvalidConfig(f"unknown codec {codec!r}; choose one of {', '.join(CODEC_NAMES)}")
    return ENCODERS[codec]

"""Recordings to decode: simulated pictures with camera noise, encoded once, repeated by packets."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import av

from service.encoders import ENCODERS
from service.simulation import SimulationSettings, simulate

_RATE_HZ = 30


CODECS = ("h264", "hevc", "mjpeg", "vp9")


def make_recordings(
    folder: Path, codecs: Sequence[str], size: tuple[int, int], frames: int, repeats: int
) -> dict[str, Path]:
    """Return a file of each codec with the same pictures; those that are there are kept.

    Args:
        folder: where they are, or are made.
        codecs: of `CODECS`.
        size: width and height, px.
        frames: that are rendered and encoded.
        repeats: how often they follow one another in the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width_px, height_px = size
    name = f"{width_px}x{height_px}-{frames}x{repeats}"
    paths = {codec: folder / f"{codec}-{name}{ENCODERS[codec].suffix}" for codec in codecs}
    missing = {codec: path for codec, path in paths.items() if not path.is_file()}
    if missing:
        once = {codec: path.with_stem(f"once-{path.stem}") for codec, path in missing.items()}
        _encode(once, size, frames)
        for codec, path in missing.items():
            repeat(once[codec], path, repeats)
            once[codec].unlink()
    return paths


def repeat(source: Path, target: Path, repeats: int) -> None:
    """Write the packets of a file that begins with a key frame `repeats` times in a row."""
    unfinished = target.with_stem(f"unfinished-{target.stem}")
    with av.open(str(source)) as container, av.open(str(unfinished), "w") as output:
        video = container.streams.video[0]
        packets = [packet for packet in container.demux(video) if packet.size]
        first = [(packet.pts, packet.dts) for packet in packets]
        times = sorted(pts for pts, _ in first if pts is not None)
        length = round((times[-1] - times[0]) * len(times) / (len(times) - 1))
        stream = output.add_stream_from_template(video)
        for number in range(repeats):
            for packet, (pts, dts) in zip(packets, first, strict=True):
                # Muxing scales a packet's times to the output's clock, in place.
                packet.time_base = video.time_base
                packet.pts = None if pts is None else pts + number * length
                packet.dts = None if dts is None else dts + number * length
                packet.stream = stream
                output.mux(packet)
    unfinished.rename(target)


def _encode(paths: dict[str, Path], size: tuple[int, int], frames: int) -> None:
    settings = SimulationSettings(
        width_px=size[0],
        height_px=size[1],
        duration_s=frames / _RATE_HZ,
        frame_rate_hz=_RATE_HZ,
    )
    with ExitStack() as stack:
        writers = []
        for codec, path in paths.items():
            encoder = ENCODERS[codec]
            container = stack.enter_context(av.open(str(path), "w"))
            stream = container.add_stream(encoder.name, rate=_RATE_HZ, options=encoder.options)
            stream.width, stream.height = size
            stream.pix_fmt = encoder.pixel_format
            writers.append((container, stream))
        for number, pixels in enumerate(simulate(settings).frames()):
            for container, stream in writers:
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for container, stream in writers:
            container.mux(stream.encode(None))

"""The memory of an analysis does not grow with the length of the video."""

import asyncio
import re
import sys
from pathlib import Path

import av
import pytest

from service.archive import VideoOptions
from service.commands._shipped import SHIPPED_MODELS
from service.config import ModelsConfig, ServiceConfig
from service.engine import FakeEngine
from service.runtime import Runtime
from service.values import ResultChunk

MODEL = "openfield-mouse"
RATE_HZ = 30
GROUP = 300


def repeat(source: Path, target: Path, repeats: int) -> None:
    """Write the packets of a file of `GROUP` frames again and again."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        video = container.streams.video[0]
        packets = [packet for packet in container.demux(video) if packet.size]
        times = [(packet.pts, packet.dts) for packet in packets]
        step = GROUP * round(1 / (RATE_HZ * video.time_base))
        stream = output.add_stream_from_template(video)
        for number in range(repeats):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                # Muxing scales the times to the output's clock, in place.
                packet.time_base = video.time_base
                packet.pts, packet.dts = pts + number * step, dts + number * step
                packet.stream = stream
                output.mux(packet)


def own_mib(process_id: int | str) -> float:
    """Memory of a process, MiB, less the frames that it shares with the other process.

    Their memory has a fixed size, but how much of it has been used at a time depends on how far
    the decoder ran ahead.
    """
    status = Path(f"/proc/{process_id}/status").read_text()
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.M)}
    return (kib["VmRSS"] - kib["RssShmem"]) / 1024


async def analyze(video: Path) -> tuple[int, float, float]:
    """Rows, and the most memory of this process and of the decode worker in between, MiB."""
    config = ServiceConfig(models=ModelsConfig(load=(MODEL,)))
    runtime = Runtime(SHIPPED_MODELS, config, create=lambda *_, **__: FakeEngine(keypoints=4))
    await runtime.start()
    rows, ours, theirs = 0, 0.0, 0.0
    try:
        await runtime.load([MODEL])
        options = VideoOptions(selections=runtime.select([MODEL]))
        async for event in runtime.analyze(video, options):
            if isinstance(event, ResultChunk):
                rows += len(event.frame_index)
                ours = max(ours, own_mib("self"))
                (worker,) = runtime.workers.process_ids
                theirs = max(theirs, own_mib(worker))
    finally:
        await runtime.stop()
    return rows, ours, theirs


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_hour_takes_the_memory_of_a_minute(tmp_path, make_video):
    group = make_video(
        tmp_path / "group.mp4", frames=GROUP, size=(320, 240), options={"bf": "2", "g": "100"}
    )
    minute, hour = tmp_path / "minute.mp4", tmp_path / "hour.mp4"
    repeat(group, minute, 60 * RATE_HZ // GROUP)
    repeat(group, hour, 3600 * RATE_HZ // GROUP)
    asyncio.run(analyze(minute))  # what grows only once has grown
    short_rows, short_ours, short_theirs = asyncio.run(analyze(minute))
    long_rows, long_ours, long_theirs = asyncio.run(analyze(hour))
    assert (short_rows, long_rows) == (60 * RATE_HZ, 3600 * RATE_HZ)
    assert long_ours <= 1.05 * short_ours
    assert long_ours + long_theirs <= 1.05 * (short_ours + short_theirs)
    # The index: 25 bytes a packet of ours, about 50 in FFmpeg's reader of MP4.
    assert (long_theirs - short_theirs) * 2**20 <= 100 * (long_rows - short_rows)

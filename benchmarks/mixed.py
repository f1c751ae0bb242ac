"""A rig and an archive job on one server: `python -m benchmarks.mixed`.

A camera offers frames at 10 % of the engine's capacity, through the Python client; the archive job
are AnalyzeVideo calls, two at once, over simulated recordings that were uploaded. Rounds alternate:
the camera alone, the archive alone, both.

live_p99_alone_ms, live_p99_beside_archive_ms
    From when a frame was due until its result was here; of all rounds.
archive_batch_ms
    Time in which the largest batch is computed at capacity: the goal for what the live latency
    grows by.
archive_share_kept
    Frames a second of the archive beside the camera, divided by those alone in the same round;
    median of the rounds.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import uvloop
from ethostream.client import AsyncClient

from benchmarks.open_loop import StreamRecord, offer_frames
from benchmarks.paced import (
    ENGINES,
    SIZE,
    PacedServer,
    measure_capacity,
    paced_server,
    pictures,
)
from benchmarks.recordings import make_recordings
from benchmarks.report import finish, percentile
from service.graph_inputs import BATCH_SIZES

T = TypeVar("T")

_VIDEOS = 2
_SHARE = 0.1
_GOAL_SHARE_KEPT = 0.85
_FRAMES_PER_CHUNK = 8
"""Few, so that frames are counted soon after they are done."""


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each."""

    alone: StreamRecord
    beside: StreamRecord
    archive_alone_per_s: float
    archive_beside_per_s: float


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, help="of each of the three parts of a round")
    add("--rounds", type=int, default=3, help="turns of each")
    add("--engine", choices=ENGINES, default="resnet18", help="of about 20 ms a frame")
    add("--out", type=Path, help="file for the JSON line; a picture is written beside it")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder, paced_server(arguments.engine) as server:
        (video,) = make_recordings(Path(folder), ["h264"], SIZE, 100, 60).values()
        capacity = measure_capacity(server, streams=4, seconds=min(5.0, arguments.seconds))
        rounds = uvloop.run(
            _measure(server, video, _SHARE * capacity, arguments.seconds, arguments.rounds)
        )
    rows, result = summarize(rounds, capacity=capacity)
    if arguments.out is not None:
        _draw(rounds, arguments.out.with_suffix(".png"))
    result |= {"engine": arguments.engine, "seconds": arguments.seconds, "rounds": len(rounds)}
    finish(rows, result, arguments.out)


async def _measure(
    server: PacedServer, video: Path, rate_hz: float, seconds: float, rounds: int
) -> list[Round]:
    async with AsyncClient(server.address) as client:
        upload_id = (await client.upload(video)).upload_id

        async def camera() -> StreamRecord:
            async with client.stream(server.bundle) as stream:
                return await offer_frames(stream, pictures(), rate_hz=rate_hz, seconds=seconds)

        found = []
        for _ in range(rounds):
            alone = await camera()
            async with _archive(client, server.bundle, upload_id) as rows:
                archive_alone, _ = await _rate_during(rows, asyncio.sleep(seconds))
                archive_beside, beside = await _rate_during(rows, camera())
            found.append(Round(alone, beside, archive_alone, archive_beside))
        return found


@contextlib.asynccontextmanager
async def _archive(client: AsyncClient, bundle: str, upload_id: str) -> AsyncIterator[list[int]]:
    """Analyze the video over and over, `_VIDEOS` at once; give the rows that came, by analysis."""
    rows = [0] * _VIDEOS
    began = asyncio.Barrier(_VIDEOS + 1)

    async def analyze(place: int) -> None:
        while True:
            analysis = client.analyze(
                bundles=bundle, upload_id=upload_id, frames_per_chunk=_FRAMES_PER_CHUNK
            )
            async for chunk in analysis:
                if not rows[place]:
                    await began.wait()
                rows[place] += len(chunk.frame_index)

    tasks = [asyncio.create_task(analyze(place)) for place in range(_VIDEOS)]
    try:
        await asyncio.wait_for(began.wait(), 60)
        yield rows
        for task in tasks:
            if task.done():
                task.result()  # it only ends where it failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _rate_during(rows: Sequence[int], work: Awaitable[T]) -> tuple[float, T]:
    """Rows a second while something else goes on, and what that gave."""
    before, began = sum(rows), time.perf_counter()
    result = await work
    return (sum(rows) - before) / (time.perf_counter() - began), result


def summarize(
    rounds: Sequence[Round], *, capacity: float
) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Return the rows of the table and the keys of the JSON line."""
    alone, beside = (
        [age * 1e3 for record in records for age in record.ages_s("result")]
        for records in ([one.alone for one in rounds], [one.beside for one in rounds])
    )
    records = [record for one in rounds for record in (one.alone, one.beside)]
    lost, duplicated = sum(one.lost for one in records), sum(one.duplicated for one in records)
    solo = statistics.median(one.archive_alone_per_s for one in rounds)
    kept = statistics.median(one.archive_beside_per_s / one.archive_alone_per_s for one in rounds)
    batch_ms = BATCH_SIZES[-1] / capacity * 1e3
    p99_alone, p99_beside = percentile(alone, 99), percentile(beside, 99)
    rows = [
        ("capacity", f"{capacity:.1f} frames/s, camera {_SHARE * capacity:.1f}"),
        ("live alone, p50 / p99", f"{percentile(alone, 50):.1f} / {p99_alone:.1f} ms"),
        ("live beside it, p50 / p99", f"{percentile(beside, 50):.1f} / {p99_beside:.1f} ms"),
        *_stages([one.beside for one in rounds]),
        ("  p99 grew by", f"{p99_beside - p99_alone:.1f} ms"),
        ("  goal: at most an archive batch", f"{batch_ms:.1f} ms"),
        ("archive alone", f"{solo:.1f} frames/s"),
        ("  share kept beside the camera", f"{kept:.3f} (goal {_GOAL_SHARE_KEPT})"),
        ("live frames lost, duplicated", f"{lost}, {duplicated}"),
    ]
    return rows, {
        "live_p99_alone_ms": round(p99_alone, 2),
        "live_p99_beside_archive_ms": round(p99_beside, 2),
        "archive_batch_ms": round(batch_ms, 2),
        "archive_share_kept": round(kept, 3),
        "archive_frames_per_s": round(solo, 2),
        "live_frames": len(beside),
        "lost": lost,
        "duplicated": duplicated,
    }


def _stages(records: Sequence[StreamRecord]) -> list[tuple[str, str]]:
    """Where the server's part of the latency went, each stage for itself."""
    timings = [
        one.timings for record in records for one in record.answered if one.timings is not None
    ]
    return [
        (
            f"  of this {meaning}, p50 / p99",
            f"{percentile(values, 50) / 1e6:.1f} / {percentile(values, 99) / 1e6:.1f} ms",
        )
        for meaning, values in (
            (
                "until it is resized",
                [one.total_ns - one.batch_wait_ns - one.engine_ns for one in timings],
            ),
            ("waiting for the device", [one.batch_wait_ns for one in timings]),
            ("computing its batch", [one.engine_ns for one in timings]),
        )
    ]


def _draw(rounds: Sequence[Round], path: Path) -> None:
    """Histograms of the live latency alone and beside the archive."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    both = {
        "alone": [age * 1e3 for one in rounds for age in one.alone.ages_s("result")],
        "beside the archive": [age * 1e3 for one in rounds for age in one.beside.ages_s("result")],
    }
    for label, ages in both.items():
        axes.hist(
            ages, 60, range=(0, max(map(max, both.values()))), density=True, alpha=0.6, label=label
        )
    axes.set(xlabel="latency of a live frame, ms", ylabel="density")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

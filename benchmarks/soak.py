"""A long time at a high load: `python -m benchmarks.soak --seconds 3600 --load 0.8`.

Cameras offer frames at an even rate, together a share of the server's capacity, and every one of
them must be answered with a result.

lost, duplicated
    Frames that the client took and that got no answer, and answers too many.
not_computed
    Frames that were answered as skipped or as errors, and those that the client held back because
    it had no credit when the time was over.
p50_ms, p99_ms
    From when a frame was due until its result was here.
rss_growth, rss_slope_mib_per_hour
    Resident memory of the server: last fifth over the first fifth, minus 1; slope over time.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from ethostream.client import AsyncClient

from benchmarks.memory import MemorySamples, sampled_memory
from benchmarks.open_loop import StreamRecord, offer_frames
from benchmarks.paced import ENGINES, PacedServer, measure_capacity, paced_server, pictures
from benchmarks.report import finish, percentile

_REPORTS = 10


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seconds", type=float, default=3600.0, help="how long")
    add("--load", type=float, default=0.8, help="frames offered, in capacities")
    add("--streams", type=int, default=4, help="that share the load")
    add("--engine", choices=ENGINES, default="fake", help="of about 20 ms a frame")
    add("--out", type=Path, help="file for the JSON line; a picture is written beside it")
    arguments = parser.parse_args()
    memory = MemorySamples()
    with paced_server(arguments.engine) as server:
        capacity = measure_capacity(
            server, streams=arguments.streams, seconds=min(10.0, arguments.seconds / 4)
        )
        rate_hz = arguments.load * capacity / arguments.streams
        records = uvloop.run(
            _measure(server, arguments.streams, rate_hz, arguments.seconds, memory)
        )
    rows, result = summarize(records, memory, capacity=capacity)
    if arguments.out is not None:
        _draw(memory, arguments.out.with_suffix(".png"))
    result |= {
        "engine": arguments.engine,
        "streams": arguments.streams,
        "load": arguments.load,
        "seconds": arguments.seconds,
    }
    finish(rows, result, arguments.out)


async def _measure(
    server: PacedServer, streams: int, rate_hz: float, seconds: float, memory: MemorySamples
) -> list[StreamRecord]:
    async with AsyncClient(server.address) as client:
        open_streams = [client.stream(server.bundle) for _ in range(streams)]
        await asyncio.gather(*(one.open() for one in open_streams))

        async def report() -> None:
            began = time.perf_counter()
            while True:
                await asyncio.sleep(seconds / _REPORTS)
                open_frames = sum(one.ledger.in_flight for one in open_streams)
                print(
                    f"{time.perf_counter() - began:.0f} s: "
                    f"{sum(one.ledger.results for one in open_streams)} results, "
                    f"{open_frames} frames open, memory {memory.bytes[-1] / (1 << 20):.1f} MiB",
                    file=sys.stderr,
                )

        async with sampled_memory(server.process.pid, memory, every_s=min(5.0, seconds / 100)):
            reporter = asyncio.create_task(report())
            try:
                return await asyncio.gather(
                    *(
                        offer_frames(
                            one,
                            pictures(),
                            rate_hz=rate_hz,
                            seconds=seconds,
                            delay_s=place / (rate_hz * streams),
                        )
                        for place, one in enumerate(open_streams)
                    )
                )
            finally:
                reporter.cancel()


def summarize(
    records: Sequence[StreamRecord], memory: MemorySamples, *, capacity: float
) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Return the rows of the table and the keys of the JSON line."""
    ages_ms = [age * 1e3 for record in records for age in record.ages_s("result")]
    lost, duplicated = sum(one.lost for one in records), sum(one.duplicated for one in records)
    kinds = {kind: sum(one.count(kind) for one in records) for kind in ("skipped", "error")}
    held_back = sum(one.held_back for one in records)
    offered = held_back + sum(len(one.due_s) for one in records)
    p50, p99 = percentile(ages_ms, 50), percentile(ages_ms, 99)
    growth, slope = memory.growth(), memory.slope_mib_per_hour()
    rows = [
        ("capacity", f"{capacity:.1f} frames/s"),
        ("frames offered, results", f"{offered}, {len(ages_ms)}"),
        ("lost, duplicated", f"{lost}, {duplicated}"),
        ("skipped, errors, held back", f"{kinds['skipped']}, {kinds['error']}, {held_back}"),
        ("latency of results, p50 / p99", f"{p50:.1f} / {p99:.1f} ms"),
        ("server memory: growth", f"{growth:+.4f}"),
        ("server memory: slope", f"{slope:+.2f} MiB/h"),
    ]
    return rows, {
        "frames": offered,
        "lost": lost,
        "duplicated": duplicated,
        "not_computed": kinds["skipped"] + kinds["error"] + held_back,
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "rss_growth": round(growth, 4),
        "rss_slope_mib_per_hour": round(slope, 3),
    }


def _draw(memory: MemorySamples, path: Path) -> None:
    """Memory over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.5), layout="constrained")
    minutes = [(one - memory.time_s[0]) / 60 for one in memory.time_s]
    axes.plot(minutes, [one / (1 << 20) for one in memory.bytes])
    axes.set(xlabel="time, min", ylabel="resident memory of the server, MiB", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

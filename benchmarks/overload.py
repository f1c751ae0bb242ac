"""What a server does with five times what it can compute: `python -m benchmarks.overload`.

Cameras offer frames at an even rate through the Python client, whatever is answered, for a time
under each freshness policy: LATEST, ALL and DEADLINE (longest wait two service times).

frame_age_p99_in_service_times
    LATEST: from when a frame was due until its outcome was here, 99th percentile in service times;
    of results alone or of all outcomes with those that the client skipped, whichever is worse. A
    service time is that in which each stream has one frame computed at capacity.
goodput_ratio
    ALL: results a second, divided by the capacity, which streams that always have frames in flight
    had before. The client is slowed: it holds back what it has no credit for.
lost, duplicated
    Of all policies: frames that the client took and that got no answer, and answers too many.
recovery_s
    The longest of the policies: from the end of the load until lone frames are answered in the
    time of before, to 10 % (the median of five in a row).
rss_growth
    Resident memory of the server, last fifth of all loads over the first fifth, minus 1.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from ethostream.client import AsyncClient
from ethostream.values import Freshness

from benchmarks.memory import MemorySamples, sampled_memory
from benchmarks.open_loop import StreamRecord, ask_one_by_one, offer_frames
from benchmarks.paced import ENGINES, PacedServer, measure_capacity, paced_server, pictures
from benchmarks.report import finish, percentile

POLICIES: tuple[Freshness, ...] = ("latest", "all", "deadline")
_LONE_FRAMES = 20
_IN_A_ROW = 5
_LONGEST_RECOVERY_FRAMES = 500


@dataclass(frozen=True, slots=True)
class Overloaded:
    """One policy under load."""

    records: list[StreamRecord]
    began_s: float
    ended_s: float
    lone_frames: list[tuple[float, float]]
    """After the load: when each was sent, and its latency, s."""

    def ages_s(self, kind: str = "") -> list[float]:
        """Ages of all streams."""
        return [age for record in self.records for age in record.ages_s(kind)]

    def results_per_s(self) -> float:
        """Results that were here while the load lasted, a second."""
        inside = sum(
            one.kind == "result" and one.received_s <= self.ended_s
            for record in self.records
            for one in record.answered
        )
        return inside / (self.ended_s - self.began_s)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="of overload under each policy")
    add("--factor", type=float, default=5.0, help="frames offered, in capacities")
    add("--streams", type=int, default=1, help="that share the load")
    add("--engine", choices=ENGINES, default="fake", help="of about 20 ms a frame")
    add("--out", type=Path, help="file for the JSON line; a picture is written beside it")
    arguments = parser.parse_args()
    with paced_server(arguments.engine) as server:
        capacity = measure_capacity(
            server, streams=arguments.streams, seconds=min(5.0, arguments.seconds)
        )
        rate_hz = arguments.factor * capacity / arguments.streams
        service_s = arguments.streams / capacity
        memory = MemorySamples()
        before, found = uvloop.run(
            _measure(server, arguments.streams, rate_hz, service_s, arguments.seconds, memory)
        )
    rows, result = summarize(
        found, before_s=before, capacity=capacity, service_s=service_s, memory=memory
    )
    if arguments.out is not None:
        _draw(found, service_s, arguments.out.with_suffix(".png"))
    result |= {
        "engine": arguments.engine,
        "streams": arguments.streams,
        "factor": arguments.factor,
        "seconds": arguments.seconds,
    }
    finish(rows, result, arguments.out)


async def _measure(
    server: PacedServer,
    streams: int,
    rate_hz: float,
    service_s: float,
    seconds: float,
    memory: MemorySamples,
) -> tuple[float, dict[Freshness, Overloaded]]:
    async with AsyncClient(server.address) as client:
        lone = await _ask(client, server, _LONE_FRAMES)
        before = statistics.median(latency for _, latency in lone[_LONE_FRAMES // 2 :])
        found = {}
        for policy in POLICIES:
            open_streams = [
                client.stream(
                    server.bundle,
                    freshness=policy,
                    max_age_ms=round(2e3 * service_s) if policy == "deadline" else 0,
                )
                for _ in range(streams)
            ]
            await asyncio.gather(*(one.open() for one in open_streams))
            began = time.perf_counter()
            async with sampled_memory(server.process.pid, memory):
                records = await asyncio.gather(
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
            after = await _ask(client, server, _LONGEST_RECOVERY_FRAMES, until_s=1.1 * before)
            found[policy] = Overloaded(list(records), began, began + seconds, after)
    return before, found


async def _ask(
    client: AsyncClient, server: PacedServer, frames: int, *, until_s: float = 0.0
) -> list[tuple[float, float]]:
    """Ask for lone frames, until they are answered in the time `until_s`."""
    asked: list[tuple[float, float]] = []
    async with client.stream(server.bundle) as stream:
        while len(asked) < frames and recovery_s(asked, ended_s=0.0, limit_s=until_s) is None:
            asked += await ask_one_by_one(stream, pictures(), _IN_A_ROW)
    return asked


def recovery_s(
    lone_frames: Sequence[tuple[float, float]], *, ended_s: float, limit_s: float
) -> float | None:
    """From the end of a load until lone frames are fast again; None where they never were.

    Args:
        lone_frames: when each was sent, and its latency, s.
        ended_s: when the load ended.
        limit_s: latency that the median of five frames in a row must keep.
    """
    for first in range(len(lone_frames) - _IN_A_ROW + 1):
        some = lone_frames[first : first + _IN_A_ROW]
        if statistics.median(latency for _, latency in some) <= limit_s:
            return max(0.0, some[0][0] - ended_s)
    return None


def summarize(
    found: dict[Freshness, Overloaded],
    *,
    before_s: float,
    capacity: float,
    service_s: float,
    memory: MemorySamples,
) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Return the rows of the table and the keys of the JSON line."""
    latest = found["latest"]
    ages = {kind: percentile(latest.ages_s(kind), 99) for kind in ("result", "")}
    goal_s = 2.2 * service_s + 2e-3
    goodput = found["all"].results_per_s() / capacity
    records = [record for one in found.values() for record in one.records]
    lost, duplicated = sum(one.lost for one in records), sum(one.duplicated for one in records)
    recoveries = [
        recovery_s(one.lone_frames, ended_s=one.ended_s, limit_s=1.1 * before_s)
        for one in found.values()
    ]
    recovered = [one for one in recoveries if one is not None]
    recovery = max(recovered) if len(recovered) == len(recoveries) else None
    slowed = percentile(
        [one.round_trip_s for record in found["all"].records for one in record.answered], 99
    )
    rows = [
        ("capacity", f"{capacity:.1f} frames/s, service time {service_s * 1e3:.1f} ms"),
        *((f"{policy}: frames", _counts(one.records)) for policy, one in found.items()),
        ("latest: p99 age of results", f"{ages['result'] * 1e3:.1f} ms"),
        ("latest: p99 age of all outcomes", f"{ages[''] * 1e3:.1f} ms"),
        ("  goal: 2.2 service times + 2 ms", f"{goal_s * 1e3:.1f} ms"),
        ("all: results / capacity", f"{goodput:.3f}"),
        ("all: p99 round trip of what the client was let send", f"{slowed * 1e3:.1f} ms"),
        ("deadline: p99 age of results", f"{_p99_ms(found['deadline']):.1f} ms"),
        ("lost, duplicated", f"{lost}, {duplicated}"),
        ("lone frame before", f"{before_s * 1e3:.1f} ms"),
        ("recovery", "not seen" if recovery is None else f"{recovery:.2f} s"),
        ("server memory: growth", f"{memory.growth():+.4f}"),
        ("server memory: slope", f"{memory.slope_mib_per_hour():+.1f} MiB/h"),
    ]
    return rows, {
        "frame_age_p99_in_service_times": round(max(ages.values()) / service_s, 3),
        "frame_age_p99_ms": round(max(ages.values()) * 1e3, 2),
        "frame_age_goal_ms": round(goal_s * 1e3, 2),
        "service_time_ms": round(service_s * 1e3, 2),
        "goodput_ratio": round(goodput, 3),
        "lost": lost,
        "duplicated": duplicated,
        "recovery_s": None if recovery is None else round(recovery, 3),
        "rss_growth": round(memory.growth(), 4),
    }


def _p99_ms(one: Overloaded) -> float:
    return percentile(one.ages_s("result"), 99) * 1e3


def _counts(records: Sequence[StreamRecord]) -> str:
    taken, held_back = (
        sum(len(one.due_s) for one in records),
        sum(one.held_back for one in records),
    )
    results, skipped, errors = (
        sum(one.count(kind) for one in records) for kind in ("result", "skipped", "error")
    )
    by_client = sum(one.reason == "no_credit" for record in records for one in record.answered)
    return (
        f"{taken} taken: {results} results, {skipped} skipped ({by_client} of them by the client), "
        f"{errors} errors; {held_back} held back"
    )


def _draw(found: dict[Freshness, Overloaded], service_s: float, path: Path) -> None:
    """Age of each result over the time of the load."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for policy, one in found.items():
        points = [
            (answer.received_s - one.began_s, answer.received_s - record.due_s[answer.frame_index])
            for record in one.records
            for answer in record.answered
            if answer.kind == "result"
        ]
        axes.plot(*zip(*points, strict=True), ".", markersize=2, label=policy)
    axes.axhline(
        2.2 * service_s + 2e-3, color="gray", linewidth=1, label="2.2 service times + 2 ms"
    )
    axes.set(
        yscale="log", xlabel="time of the load, s", ylabel="age of a result when it is here, s"
    )
    axes.legend(markerscale=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

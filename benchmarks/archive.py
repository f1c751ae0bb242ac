"""Archives beside a loop written by hand: `python -m benchmarks.archive`.

archive_ratio
    Frames a second of one long video to its result files (rows to disk on the way, the record and
    the usual formats at the end), divided by those of a loop written by hand on the same cores:
    PyAV in a thread of its own, resize, batches of the largest bucket on the same engine, answers
    kept in memory, nothing written. Median over rounds that take turns.
many_to_one_ratio
    Frames a second of ten short videos, divided by those of the one that holds their packets.
rss_ratio_long_to_short
    Most memory of `ethostream analyze` and its processes over a long video, divided by that over
    one of a minute; with all of the formats written. `rss_ratio_without_writing` leaves the
    process out that writes results: it holds the tables of one video, and ends with the command.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Thread

import av
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.recordings import make_recordings, repeat
from benchmarks.report import finish
from service.commands._shipped import SHIPPED_MODELS
from service.format_names import DEFAULT_FORMATS
from service.jobs.analyzer import LocalAnalyzer
from service.jobs.finish import Finisher, Outputs
from service.jobs.lease import LeaseTaker
from service.jobs.runner import run_videos
from service.jobs.video import Request, VideoWorker
from service.pose import poses_in_frame
from service.preprocess import to_model_input
from service.results import RequestOptions
from service.results.plan import plan_videos
from service.runtime import Runtime, local_runtime
from service.values import Poses

_MODEL = "openfield-mouse"
_RENDERED = 300
"""Frames that are simulated and encoded; recordings repeat their packets."""
_MANY = 10
_FRAMES_PER_MINUTE = 1800


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each, frames a second."""

    loop: float
    one: float
    many: float


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="turns of each")
    add("--repeats", type=int, default=20, help=f"length of the long video, times {_RENDERED}")
    add("--size", default="640x480", metavar="WxH", help="of the videos, px")
    add("--parallel", type=int, default=2, help="videos at once")
    add("--long-minutes", type=int, default=60, help="of the memory test; 0 leaves it out")
    add("--out", type=Path, help="file for the JSON line")
    arguments = parser.parse_args()
    width_px, height_px = (int(part) for part in arguments.size.split("x"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        size = (width_px, height_px)
        (one,) = make_recordings(folder, ["h264"], size, _RENDERED, arguments.repeats).values()
        many = [folder / "many" / f"{number}.mp4" for number in range(_MANY)]
        many[0].parent.mkdir()
        for path in many:
            repeat(_once(folder, size), path, max(1, arguments.repeats // _MANY))
        rounds = asyncio.run(_measure(one, many, arguments.rounds, arguments.parallel))
        ratios = (float("nan"), float("nan"))
        if arguments.long_minutes:
            ratios = _memory(folder, size, arguments.long_minutes)
    loop, ours, shorts = (
        statistics.median(values)
        for values in zip(*((one.loop, one.one, one.many) for one in rounds), strict=True)
    )
    result = {
        "archive_ratio": round(statistics.median(one.one / one.loop for one in rounds), 3),
        "many_to_one_ratio": round(statistics.median(one.many / one.one for one in rounds), 3),
        "rss_ratio_long_to_short": round(ratios[0], 3),
        "rss_ratio_without_writing": round(ratios[1], 3),
        "long_minutes": arguments.long_minutes,
    }
    finish(
        [
            ("loop by hand, frames/s", f"{loop:.0f}"),
            ("one long video, frames/s", f"{ours:.0f}"),
            (f"{_MANY} short videos, frames/s", f"{shorts:.0f}"),
            ("archive / loop (goal 0.90)", f"{result['archive_ratio']:.2f}"),
            ("short / long (goal 0.95)", f"{result['many_to_one_ratio']:.2f}"),
            ("memory long / short (goal 1.05)", f"{result['rss_ratio_long_to_short']:.3f}"),
            ("  without writing", f"{result['rss_ratio_without_writing']:.3f}"),
        ],
        result,
        arguments.out,
    )


async def _measure(one: Path, many: Sequence[Path], rounds: int, parallel: int) -> list[Round]:
    found = []
    async with local_runtime(SHIPPED_MODELS, bundles=[_MODEL]) as runtime:
        finisher = Finisher()
        try:
            for number in range(rounds + 1):
                loop = await asyncio.to_thread(run_loop, runtime, one)
                archived = await _archive(runtime, finisher, [one], parallel)
                shorts = await _archive(runtime, finisher, many, parallel)
                if number:  # the first turn warms all up
                    found.append(Round(loop, archived, shorts))
        finally:
            await finisher.close()
    return found


async def _archive(
    runtime: Runtime, finisher: Finisher, videos: Sequence[Path], parallel: int
) -> float:
    """Frames a second of videos to their results."""
    with TemporaryDirectory() as out:
        worker = VideoWorker(
            LocalAnalyzer(runtime, [_MODEL]),
            finisher,
            LeaseTaker(),
            Request(options=RequestOptions(), outputs=Outputs(DEFAULT_FORMATS)),
            lambda progress: None,
        )
        began = time.perf_counter()
        reports = await run_videos(plan_videos(videos, Path(out)), worker, parallel=parallel)
        seconds = time.perf_counter() - began
    failed = [one.message for one in reports if one.state != "done"]
    assert not failed, failed
    return sum(one.frames for one in reports) / seconds


def run_loop(runtime: Runtime, video: Path) -> float:
    """Frames a second of a loop written by hand: decode and resize ahead, compute in batches."""
    loaded = runtime.repository.get(_MODEL, 0)
    spec, engine = loaded.bundle.manifest.input, loaded.graphs["pose"].engine
    size = runtime.scheduler.batch_sizes[-1]
    # Four batches ahead, as the archive has.
    ready: Queue[NDArray[np.uint8] | None] = Queue(4)
    placements = []

    def decode() -> None:
        batch: list[NDArray[np.uint8]] = []
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                pixels = frame.to_ndarray(format="rgb24")
                resized, placement = to_model_input(pixels, spec)
                batch.append(resized)
                placements.append(placement)
                if len(batch) == size:
                    ready.put(np.stack(batch))
                    batch = []
        if batch:
            ready.put(np.stack(batch))
        ready.put(None)

    began = time.perf_counter()
    thread = Thread(target=decode)
    thread.start()
    poses: list[Poses] = []
    while (frames := ready.get()) is not None:
        for answer in engine.run({"frames": frames})["keypoints"]:
            poses.append(poses_in_frame(answer, placements[len(poses)]))
    thread.join()
    return len(poses) / (time.perf_counter() - began)


def _memory(folder: Path, size: tuple[int, int], minutes: int) -> tuple[float, float]:
    """Most memory of a long video over that of a minute, with and without what writes results."""
    peaks = []
    for length in (1, minutes):
        video = folder / f"{length}-minutes.mp4"
        repeat(_once(folder, size), video, length * _FRAMES_PER_MINUTE // _RENDERED)
        peaks.append(_peak_bytes(video, folder / f"out-{length}"))
        video.unlink()
    (short, short_alone), (long, long_alone) = peaks
    return long / short, long_alone / short_alone


def _peak_bytes(video: Path, out: Path) -> tuple[int, int]:
    """Most memory of `analyze` with all its processes, and before results are written."""
    command = [sys.executable, "-m", "ethostream.commands", "analyze", str(video)]
    command += ["--model", _MODEL, "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        everything, analysis = 0, 0
        while process.poll() is None:
            parts = [(one.pid, _private_bytes(one)) for one in _tree(watched)]
            everything = max(everything, sum(size for _, size in parts))
            if not (out / ".ethostream").is_dir() or not list(out.glob(".ethostream/*/files-*")):
                analysis = max(analysis, sum(size for _, size in parts))
            time.sleep(0.2)
    assert process.returncode == 0, f"analyze ended with {process.returncode}"
    return everything, analysis


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _private_bytes(process: psutil.Process) -> int:
    """Memory of one process, shared pages counted in parts, so that a tree can be added up."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _once(folder: Path, size: tuple[int, int]) -> Path:
    """Return the recording that the others repeat."""
    (path,) = make_recordings(folder, ["h264"], size, _RENDERED, 1).values()
    return path


if __name__ == "__main__":
    main()

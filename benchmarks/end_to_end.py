"""What an archive reaches, and what holds it back: `python -m benchmarks.end_to_end`.

For each network, in turns, on one H.264 recording of the network's size:

engine
    Frames a second of its graphs alone, in batches of the largest bucket, on arrays that are there.
decoder
    Frames a second from the file to the network's inputs, taken out of the decode workers.
rest
    The same archive with engines that answer zeros at once: decoding, hand-over, windows, batches
    and answers. Its processor time a frame in the serving process bounds what one process can hand
    to any accelerator.
end to end
    From the file to the columns of the results. The ratio is to the slower of engine and decoder.

With `--processes N`, the last two also in N processes side by side, each with its own decode
workers and engine, as several `ethostream jobs run` on one machine work on one folder of jobs.

Networks have random weights, and every precision is let through: speed does not depend on them.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import psutil

from benchmarks.random_bundles import random_bundle, random_inputs
from benchmarks.recordings import make_recordings
from benchmarks.report import finish
from export.engines.bundle import build_engines
from service.archive import VideoOptions
from service.bundle import write_manifest
from service.config import ServiceConfig, VideoConfig
from service.decoder_names import DECODER_CHOICES
from service.engine import Engine, Tensors, create_engine
from service.engine.tensorrt_library import RUNTIMES
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES
from service.graph_inputs import BATCH_SIZES
from service.logs import configure_logs
from service.repository import EngineConfig, LoadedBundle
from service.runtime import Runtime, pass_over_what_stays
from service.values import ResultChunk

NETWORKS = ("resnet50-640x480", "deg_f-256x256", "realtime-256x256")
_RENDERED = 60
_REST_SHARED, _WHOLE_SHARED = "rest in processes", "end to end in processes"


@dataclass(frozen=True, slots=True)
class _Turn:
    frames: int
    seconds: float
    cpu_seconds: float
    """Processor time of this process, without that of the decode workers."""

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds


class _Zeros:
    """Answers zeros at once, in the shapes of a real graph."""

    engine, precision = "zeros:cpu", "fp32"

    def __init__(self, like: Engine) -> None:
        self.inputs, self.outputs = like.inputs, like.outputs

    def run(self, inputs: Tensors) -> Tensors:
        """See `Engine.run`."""
        first = next(iter(inputs.values()))
        steps = first.shape[1]  # of a sequence, the one axis that graphs leave open besides rows
        return {
            spec.name: np.zeros(
                (len(first), *(steps if size is None else size for size in spec.shape[1:])),
                spec.dtype,
            )
            for spec in self.outputs
        }


def main() -> int:
    """Measure what the arguments name and print it."""
    arguments = _parser().parse_args()
    configure_logs("json", "warning")
    rows = []
    for network in arguments.networks:
        with TemporaryDirectory() as name:
            rows.append(asyncio.run(_measure(network, Path(name), arguments)))
    finish(
        [line for row in rows for line in _lines(row)],
        {
            "benchmark": "end_to_end",
            "engine": arguments.engine,
            "precision": arguments.precision,
            "decoder": arguments.decoder,
            "rows": rows,
        },
        arguments.out,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="archives from the file to the results")
    add = parser.add_argument
    add(
        "--networks",
        nargs="+",
        default=NETWORKS,
        metavar="NAME",
        help="resnet50-, deg_f- or realtime-WxH",
    )
    add("--engine", default="auto", choices=ENGINE_CHOICES)
    add("--precision", default="auto", choices=PRECISION_CHOICES)
    add("--decoder", default="auto", choices=DECODER_CHOICES)
    add("--videos", type=int, default=2, help="videos at once, in each process")
    add("--frames", type=int, default=600, help="of each video")
    add("--rounds", type=int, default=3)
    add("--processes", type=int, default=1, help="measure so many side by side, too")
    add("--out", type=Path, help="file for the JSON line")
    return parser


async def _measure(network: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one network."""
    models = folder / "models"
    bundle_folder = models / network / "1"
    bundle_folder.mkdir(parents=True)
    size = random_bundle(network, bundle_folder).manifest.input
    if arguments.engine in RUNTIMES:
        _build(bundle_folder, arguments.engine, arguments.precision)
    (video,) = make_recordings(
        folder, ["h264"], (size.width_px, size.height_px), _RENDERED,
        max(1, arguments.frames // _RENDERED),
    ).values()  # fmt: skip
    config = ServiceConfig(
        engine=EngineConfig(engine=arguments.engine, precision=arguments.precision),
        video=VideoConfig(decoder=arguments.decoder, decode_workers=arguments.videos),
    )
    real, idle = _open(models, config, is_idle=False), _open(models, config, is_idle=True)
    turns: dict[str, list[_Turn]] = {}
    try:
        for runtime in (real, idle):
            await runtime.start()
            await runtime.load([network])
        pass_over_what_stays()  # as a server does
        loaded = real.repository.get(network, 0)
        parts: dict[str, Callable[[], Any]] = {
            "engine": partial(asyncio.to_thread, _run_engine, loaded, arguments.frames),
            "decoder": partial(_run_all, real, arguments.videos, partial(_decode, loaded), video),
            "rest": partial(_run_all, idle, arguments.videos, partial(_analyze, network), video),
            "end to end": partial(
                _run_all, real, arguments.videos, partial(_analyze, network), video
            ),
        }
        for number in range(arguments.rounds + 1):
            for name, part in parts.items():
                turn = await part()
                if number:  # the first one warms up
                    turns.setdefault(name, []).append(turn)
    finally:
        await real.stop()
        await idle.stop()
    if arguments.processes > 1:
        for name, is_idle in ((_REST_SHARED, True), (_WHOLE_SHARED, False)):
            run = _Run(network, models, video, config, arguments.videos, arguments.rounds, is_idle)
            turns[name] = _run_side_by_side(run, arguments.processes)
    rates = {
        name: statistics.median(one.frames_per_s for one in taken) for name, taken in turns.items()
    }
    rounds = zip(turns["engine"], turns["decoder"], turns["end to end"], strict=True)
    return {
        "network": network,
        "engine": loaded.engine,
        "precision": loaded.precision,
        "processes": arguments.processes,
        "frames_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(
            statistics.median(
                whole.frames_per_s / min(engine.frames_per_s, decoder.frames_per_s)
                for engine, decoder, whole in rounds
            ),
            3,
        ),
        "cpu_ms_per_frame": round(
            statistics.median(one.cpu_seconds / one.frames * 1e3 for one in turns["rest"]), 3
        ),
    }


def _build(folder: Path, runtime: str, precision: str) -> None:
    """Build engines for this GPU, in fp16 where no precision is named, and let them through."""
    precision = "fp16" if precision == "auto" else precision
    manifest = build_engines(folder, runtime=runtime, precision=precision).manifest
    precisions = {**manifest.precisions, runtime: (precision,)}
    write_manifest(folder, msgspec.structs.replace(manifest, precisions=precisions))


def _open(models: Path, config: ServiceConfig, *, is_idle: bool) -> Runtime:
    """Return a runtime with the bundle's engines, or with ones that answer zeros at once."""
    return Runtime(models, config, create=_create_zeros if is_idle else create_engine)


def _create_zeros(*arguments: Any, **options: Any) -> Engine:
    return _Zeros(create_engine(*arguments, **options))


@dataclass(frozen=True, slots=True)
class _Run:
    """What each of several processes does."""

    network: str
    models: Path
    video: Path
    config: ServiceConfig
    videos: int
    rounds: int
    is_idle: bool


_barrier: Barrier
"""Where processes wait for one another; in each of them."""


def _run_side_by_side(run: _Run, processes: int) -> list[_Turn]:
    """Analyze in several processes at once; a turn lasts from the first one's to the last one's."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, context, _meet_at, (context.Barrier(processes, timeout=600),)
    ) as pool:
        found = [*pool.map(_run_alone, [run] * processes)]
    return [
        _Turn(
            sum(one.frames for one in turns),
            max(one.seconds for one in turns),
            sum(one.cpu_seconds for one in turns),
        )
        for turns in zip(*found, strict=True)
    ]


def _meet_at(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier
    configure_logs("json", "warning")


def _run_alone(run: _Run) -> Sequence[_Turn]:
    return asyncio.run(_analyze_in_turns(run))


async def _analyze_in_turns(run: _Run) -> list[_Turn]:
    runtime = _open(run.models, run.config, is_idle=run.is_idle)
    await runtime.start()
    try:
        await runtime.load([run.network])
        pass_over_what_stays()
        turns = []
        for _ in range(run.rounds + 1):
            await asyncio.to_thread(_barrier.wait)
            read = partial(_analyze, run.network)
            turns.append(await _run_all(runtime, run.videos, read, run.video))
    finally:
        await runtime.stop()
    return turns[1:]  # the first one warms up


def _run_engine(loaded: LoadedBundle, frames: int) -> _Turn:
    """Compute all graphs one after the other, in batches."""
    batch = BATCH_SIZES[-1]
    manifest = loaded.bundle.manifest
    inputs = {name: random_inputs(manifest, name, batch) for name in manifest.graph_names}
    batches = max(1, frames // batch)
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    for _ in range(batches):
        for name, one in inputs.items():
            loaded.graphs[name].engine.run(one)
    return _Turn(batches * batch, time.perf_counter() - began, _cpu_seconds() - cpu_began)


async def _run_all(
    runtime: Runtime, videos: int, read: Callable[[Runtime, Path], Any], video: Path
) -> _Turn:
    """Read the same video several times at once."""
    began, cpu_began = time.perf_counter(), _cpu_seconds()
    frames = sum(await asyncio.gather(*(read(runtime, video) for _ in range(videos))))
    return _Turn(frames, time.perf_counter() - began, _cpu_seconds() - cpu_began)


async def _decode(loaded: LoadedBundle, runtime: Runtime, video: Path) -> int:
    async with runtime.workers.open(
        video,
        color=None,
        inputs=(loaded.bundle.manifest.input,),
        on_device=loaded.takes_device_rows,
    ) as reader:
        return len([frame.frame_index async for frame in reader])


async def _analyze(network: str, runtime: Runtime, video: Path) -> int:
    options = VideoOptions(selections=runtime.select([network]), frame_rate_hz=30.0)
    events = runtime.analyze(video, options)
    return sum([len(one.frame_index) async for one in events if isinstance(one, ResultChunk)])


def _cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def _lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    name, rates = row["network"], row["frames_per_s"]
    side_by_side = [
        (f"{name}, {title} in {row['processes']} processes", f"{rates[part]:.1f} frames/s")
        for title, part in (("all but the engine", _REST_SHARED), ("end to end", _WHOLE_SHARED))
        if part in rates
    ]
    return [
        (
            f"{name}, engine alone ({row['engine']} {row['precision']})",
            f"{rates['engine']:.1f} frames/s",
        ),
        (f"{name}, decoder alone", f"{rates['decoder']:.1f} frames/s"),
        (
            f"{name}, all but the engine",
            f"{rates['rest']:.1f} frames/s, {row['cpu_ms_per_frame']:.2f} CPU-ms",
        ),
        (
            f"{name}, end to end",
            f"{rates['end to end']:.1f} frames/s, {row['ratio']:.2f} x the slower part",
        ),
        *side_by_side,
    ]


if __name__ == "__main__":
    sys.exit(main())

"""Time of a batch of every engine, precision, number of threads and batch size that work here."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from service.bundle import Bundle
from service.engine import ENGINES, Engine, choose_engine, default_threads, load_graph
from service.engine_names import PRECISIONS
from service.errors import EngineFailed, EngineUnavailable
from service.graph_inputs import example_inputs
from service.values import BundleVersion

log = structlog.get_logger("ethostream.tuning")

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_LEFT_OUT = ("onnxruntime:tensorrt",)
"""It builds for minutes while it is loaded; `tensorrt` is the same library without that."""
_FEWEST_RUNS = 3


@dataclass(frozen=True, slots=True)
class EngineSetting:
    """What section [engine] names, and what each bundle makes of it."""

    engine: str
    precision: str
    """As the settings file has it: `auto` where the bundles differ."""
    precisions: tuple[str, ...]
    """Of the bundles, in their order."""


@dataclass(frozen=True, slots=True)
class EngineTiming:
    """How long one bundle's graphs take for a batch, one after the other."""

    bundle: BundleVersion
    engine: str
    precision: str
    threads: int
    batch_size: int
    median_seconds: float
    p95_seconds: float
    """19 of 20 batches take no longer: what a latency is held against."""


def engine_settings(bundles: Sequence[Bundle]) -> list[EngineSetting]:
    """List the settings of [engine] with which this machine computes all of the bundles.

    Only precisions that passed every bundle's parity gate; `auto` only where it gives bundles
    different ones.
    """
    found: dict[tuple[str, tuple[str, ...]], EngineSetting] = {}
    for engine in ENGINES:
        if engine in _LEFT_OUT:
            continue
        for precision in (*PRECISIONS[engine], "auto"):
            if precision == "bf16" and not _computes_bf16():
                continue
            try:
                precisions = tuple(
                    choose_engine(one.manifest, engine, precision)[1] for one in bundles
                )
            except EngineUnavailable as error:
                log.debug("left out", engine=engine, precision=precision, reason=str(error))
                continue
            setting = EngineSetting(engine, precision, precisions)
            found.setdefault((engine, precisions), setting)
    return list(found.values())


def measure_engines(
    bundles: Sequence[Bundle],
    settings: Sequence[EngineSetting],
    *,
    most_seconds: float,
    seconds: float,
    threads: Sequence[int] = (),
) -> Iterator[EngineTiming]:
    """Time each bundle with each setting, every combination once.

    Args:
        bundles: what is to be served together.
        settings: of `engine_settings`.
        most_seconds: larger batches than the first that takes longer are left out.
        seconds: time of each measurement, at least.
        threads: numbers of threads to try on the processor; by default 1, 2, 4 and so on up to
            the processors of this machine.
    """
    done: set[tuple[str, str, str]] = set()
    for setting in settings:
        for bundle, precision in zip(bundles, setting.precisions, strict=True):
            if (bundle.name, setting.engine, precision) not in done:
                done.add((bundle.name, setting.engine, precision))
                for count in threads_to_try(setting.engine, threads):
                    yield from _time_bundle(
                        bundle, setting.engine, precision, count, most_seconds, seconds
                    )


def threads_to_try(engine: str, threads: Sequence[int] = ()) -> tuple[int, ...]:
    """Numbers of threads that make a difference to an engine here."""
    if engine not in ("onnxruntime", "openvino"):
        return (default_threads(),)  # a GPU computes
    if threads:
        return tuple(threads)
    counts = [1]
    while counts[-1] * 2 < default_threads():
        counts.append(counts[-1] * 2)
    return tuple(dict.fromkeys((*counts, default_threads())))


def _time_bundle(
    bundle: Bundle, engine: str, precision: str, threads: int, most_seconds: float, seconds: float
) -> Iterator[EngineTiming]:
    """Load a bundle and time it in growing batches."""
    try:
        graphs = {
            graph: load_graph(bundle, graph, engine=engine, precision=precision, threads=threads)
            for graph in bundle.manifest.graph_names
        }
    except (EngineUnavailable, EngineFailed) as error:
        log.warning("left out", bundle=bundle.name, engine=engine, reason=str(error))
        return
    for batch_size in BATCH_SIZES:
        taken = _time_batches(bundle, graphs, batch_size, seconds)
        if not taken:
            return
        timing = EngineTiming(
            BundleVersion(bundle.name, bundle.version),
            engine,
            precision,
            threads,
            batch_size,
            statistics.median(taken),
            float(np.percentile(taken, 95)),
        )
        yield timing
        if timing.p95_seconds > most_seconds:
            return


def _time_batches(
    bundle: Bundle, graphs: dict[str, Engine], batch_size: int, seconds: float
) -> list[float]:
    """Seconds of each run; none where the engine does not take this size."""
    inputs = {name: example_inputs(bundle.manifest, name, batch_size) for name in graphs}

    def run() -> float:
        began = time.perf_counter()
        for name, engine in graphs.items():
            engine.run(inputs[name])
        return time.perf_counter() - began

    try:
        run()  # what is compiled at the first run of a size does not count
    except EngineFailed as error:  # such as an engine that was built for some sizes only
        say = log.warning if batch_size == 1 else log.debug
        say("left out", bundle=bundle.name, batch_size=batch_size, reason=str(error))
        return []
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < _FEWEST_RUNS or time.perf_counter() < until:
        taken.append(run())
    return taken


def _computes_bf16() -> bool:
    """Whether the processor computes in bf16; emulated, it is slow."""
    try:
        from service.engine.openvino import cpu_computes_bf16
    except ImportError:
        return False
    return cpu_computes_bf16()

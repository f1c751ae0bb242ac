"""From a model folder and a latency to a settings file."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from tempfile import TemporaryDirectory

from service.bundle import Bundle, find_bundles, read_bundle
from service.errors import BundleNotFound, EngineUnavailable
from service.runtime import parse_bundle
from service.simulation import SimulationSettings
from service.tuning.choice import (
    Candidate,
    Choice,
    DecodeTiming,
    candidates,
    choose_engine_setting,
    choose_workers,
)
from service.tuning.decoding import make_recording, measure_decoding
from service.tuning.engines import EngineTiming, engine_settings, measure_engines
from service.tuning.settings_file import write_settings
from service.values import BundleVersion

_RECORDING_SECONDS = 10.0
_RATE_HZ = 30.0


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured, and what follows."""

    bundles: tuple[BundleVersion, ...]
    timings: tuple[EngineTiming, ...]
    candidates: tuple[Candidate, ...]
    decoding: tuple[DecodeTiming, ...]
    choice: Choice


def launch(
    models: Path,
    names: Sequence[str],
    *,
    target_seconds: float,
    seconds: float,
    size: tuple[int, int],
    out: Path,
    tell: Callable[[str], None],
) -> Measured:
    """Measure, choose and write the settings.

    Args:
        models: the model folder.
        names: bundles that every frame goes through, NAME or NAME@VERSION; empty takes the newest
            of all.
        target_seconds: what a frame alone and a largest batch must keep.
        seconds: of each measurement.
        size: of the recording to decode, width and height, px.
        out: the settings file.
        tell: is given a line for each measurement.

    Raises:
        BundleNotFound: the folder or a bundle is not there.
        EngineUnavailable: no engine computes all of the bundles here.
        EngineFailed: every engine failed.
        InvalidRequest: no setting keeps the target, or the size is out of range.
    """
    recording = SimulationSettings(
        width_px=size[0],
        height_px=size[1],
        frame_rate_hz=_RATE_HZ,
        duration_s=_RECORDING_SECONDS,
    )
    bundles = find_named(models, names)
    keys = tuple(BundleVersion(one.name, one.version) for one in bundles)
    settings = engine_settings(bundles)
    if not settings:
        raise EngineUnavailable(
            f"no engine computes {', '.join(map(str, keys))} here; `ethostream doctor` says what "
            "is missing"
        )
    timings = []
    for one in measure_engines(bundles, settings, most_seconds=target_seconds, seconds=seconds):
        timings.append(one)
        tell(
            f"{one.bundle} {one.engine} {one.precision}, threads {one.threads}, "
            f"batch {one.batch_size}: {one.median_seconds * 1e3:.2f} ms "
            f"(p95 {one.p95_seconds * 1e3:.2f})"
        )
    found = candidates(settings, keys, timings)
    engine = choose_engine_setting(found, target_seconds)
    decoding = asyncio.run(_decode(bundles, recording, seconds, tell))
    workers, workers_reason = choose_workers(decoding, engine.chosen.frames_per_s)
    choice = Choice(engine, workers, workers_reason)
    write_settings(
        out,
        choice,
        models=models.resolve(),
        bundles=[str(key) if "@" in name else key.name for key, name in _paired(keys, names)],
        head=(
            f"Settings for {', '.join(map(str, keys))} and a latency of {target_seconds * 1e3:g} "
            f"ms, found by `ethostream tune` on {node()}, {datetime.now(UTC):%Y-%m-%d}. What is "
            "not here has its default."
        ),
    )
    return Measured(keys, tuple(timings), tuple(found), tuple(decoding), choice)


def find_named(models: Path, names: Sequence[str]) -> list[Bundle]:
    """Read the bundles NAME or NAME@VERSION of a folder, or the newest of all.

    Raises:
        BundleNotFound: one is not there; the message lists what is.
    """
    known = find_bundles(models)
    found = []
    for text in names or sorted(known):
        name, version = parse_bundle(text)
        versions = known.get(name, {})
        folder = versions.get(version or max(versions, default=0))
        if folder is None:
            there = ", ".join(sorted(known)) or "no bundle"
            raise BundleNotFound(f"there is no bundle {text!r} in {models}, which has {there}")
        found.append(read_bundle(folder))
    if not found:
        raise BundleNotFound(f"{models} holds no bundle; name a folder of <name>/<version>/")
    return found


def _paired(keys: Sequence[BundleVersion], names: Sequence[str]) -> list[tuple[BundleVersion, str]]:
    return list(zip(keys, names or [key.name for key in keys], strict=True))


async def _decode(
    bundles: Sequence[Bundle],
    recording: SimulationSettings,
    seconds: float,
    tell: Callable[[str], None],
) -> list[DecodeTiming]:
    inputs = tuple({one.manifest.input: None for one in bundles})
    found = []
    with TemporaryDirectory() as folder:
        video = await asyncio.to_thread(make_recording, Path(folder), recording)
        async for one in measure_decoding(video, inputs, seconds=max(seconds, 1.0)):
            found.append(one)
            tell(f"decoding {one.workers} at once: {one.frames_per_s:.1f} frames/s")
    return found

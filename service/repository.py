"""The model repository: a folder of bundles, and which of their versions are loaded.

Loading happens beside what runs; a version is published only when its engines are compiled and
warmed up. Unloading takes a version out of the table: streams that began with it hold it until
they end.
"""

import asyncio
import enum
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from service import metrics
from service.bundle import Bundle, Manifest, file_sha256, find_bundles, read_bundle
from service.engine import Engine, choose_engine, create_engine, default_threads, engine_file
from service.engine.base import DeviceEngine
from service.engine.device import Rows
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES
from service.errors import (
    BundleInvalid,
    BundleNotFound,
    EngineFailed,
    EthostreamError,
    InvalidConfig,
)
from service.graph_inputs import example_inputs
from service.scheduler import Graph
from service.setting_ranges import check_least
from service.values import BundleVersion

CreateEngine = Callable[..., Engine]
"""Loads one graph; `create_engine`, unless a test or a benchmark measures everything but it."""

log = structlog.get_logger("ethostream.repository")


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which engine computes the bundles."""

    engine: str = "auto"
    """auto, tensorrt, tensorrt-rtx, onnxruntime:cuda, onnxruntime:tensorrt, openvino or
    onnxruntime; auto takes the first that works here, in the order of `engine.AUTO_ORDER`."""
    precision: str = "auto"
    """auto, fp32, bf16, fp16 or int8; auto takes the fastest that passed the parity gate."""
    threads: int = 0
    """Threads that compute one batch; 0 takes one per processor."""

    def __post_init__(self) -> None:
        """Check ranges and names."""
        check_least(self, "engine", threads=0)
        for name, choices in (("engine", ENGINE_CHOICES), ("precision", PRECISION_CHOICES)):
            if getattr(self, name) not in choices:
                raise InvalidConfig(
                    f"engine.{name} is {getattr(self, name)!r}; give one of {', '.join(choices)}"
                )


class BundleState(enum.IntEnum):
    """Where a bundle is in its life; the numbers are those of the protocol."""

    AVAILABLE = 1
    LOADING = 2
    READY = 3
    FAILED = 5


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle with its graphs compiled; immutable and shared by all that use it."""

    bundle: Bundle
    graphs: dict[str, Graph]
    engine: str
    """Engine and device, such as openvino:cpu."""
    precision: str
    manifest_sha256: str

    @property
    def key(self) -> BundleVersion:
        """Name and version."""
        return BundleVersion(self.bundle.name, self.bundle.version)

    @property
    def takes_device_rows(self) -> bool:
        """Whether frames may lie in the GPU's memory."""
        return all(one.takes_device_rows for one in self.graphs.values())


@dataclass(frozen=True, slots=True)
class Selection:
    """A bundle that a request wants, with what it changes."""

    loaded: LoadedBundle
    thresholds: dict[str, float] = field(default_factory=dict)
    min_bout_frames: dict[str, int] = field(default_factory=dict)
    bout_events: bool = False


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """One version as `statuses` and `watch` show it."""

    key: BundleVersion
    state: BundleState
    bundle: Bundle | None
    """None where its files could not be read."""
    loaded: LoadedBundle | None
    reason: str = ""


class Repository:
    """All bundles below one folder."""

    def __init__(
        self,
        directory: Path,
        config: EngineConfig,
        batch_sizes: tuple[int, ...],
        *,
        create: CreateEngine = create_engine,
    ) -> None:
        self._directory = directory
        self._config = config
        self._batch_sizes = batch_sizes
        self._create = create
        self._status: dict[BundleVersion, BundleStatus] = {}
        self._watchers: set[asyncio.Queue[BundleStatus]] = set()
        self._changing = asyncio.Lock()  # loads compete for all cores: one after the other

    def get(self, name: str, version: int = 0) -> LoadedBundle:
        """Return a loaded bundle; version 0 means the highest that is loaded.

        Raises:
            BundleNotFound: it is not loaded; the message lists what is.
        """
        versions = {
            key.version: status.loaded
            for key, status in self._status.items()
            if key.name == name and status.loaded is not None
        }
        found = versions.get(version or max(versions, default=0))
        if found is None:
            asked = f"{name}@{version}" if version else name
            loaded = ", ".join(str(one.key) for one in self.loaded()) or "none"
            raise BundleNotFound(f"the bundle {asked!r} is not loaded; loaded are: {loaded}")
        return found

    def loaded(self) -> list[LoadedBundle]:
        """List the loaded bundles by name and version."""
        return [status.loaded for status in self.statuses() if status.loaded is not None]

    def statuses(self) -> list[BundleStatus]:
        """List every known version by name and version."""
        return sorted(self._status.values(), key=lambda one: (one.key.name, one.key.version))

    def status(self, name: str, version: int = 0) -> BundleStatus:
        """Return one version; 0 means the highest that is loaded, or else the highest known.

        Raises:
            BundleNotFound: the folder holds no such bundle.
        """
        known = [one for one in self.statuses() if one.key.name == name]
        if version:
            known = [one for one in known if one.key.version == version]
        ready = [one for one in known if one.loaded is not None]
        if not known:
            asked = f"{name}@{version}" if version else name
            names = ", ".join(sorted({one.key.name for one in self.statuses()})) or "none"
            raise BundleNotFound(f"there is no bundle {asked!r}; the model folder has: {names}")
        return (ready or known)[-1]

    async def scan(self) -> None:
        """Read the folder anew: new versions become known, vanished ones that are not loaded go."""
        found = await asyncio.to_thread(find_bundles, self._directory)
        keys = {
            BundleVersion(name, version) for name, versions in found.items() for version in versions
        }
        for key in keys - self._status.keys():
            folder = found[key.name][key.version]
            try:
                bundle = await asyncio.to_thread(_read_checked, folder, key)
                self._publish(BundleStatus(key, BundleState.AVAILABLE, bundle, None))
            except EthostreamError as error:
                self._publish(BundleStatus(key, BundleState.FAILED, None, None, str(error)))
        for key in self._status.keys() - keys:
            if self._status[key].loaded is None:
                del self._status[key]

    async def load(self, name: str, version: int = 0) -> LoadedBundle:
        """Load a version, or the highest one in the folder where `version` is 0.

        One that is loaded is loaded again where its bundle.json was replaced, for example since
        engines were built for it; until that is done, and if it fails, the old one serves.

        Raises:
            BundleNotFound: the folder holds no such bundle.
            BundleInvalid: a file is missing, has another hash, or is not a graph of this task.
            EngineUnavailable: the configured engine is not installed here.
        """
        async with self._changing:
            for key, status in list(self._status.items()):
                if key.name == name and version in (0, key.version) and status.loaded is None:
                    del self._status[key]  # read it anew: it may have been mended
            await self.scan()
            if not version:
                known = [one.key.version for one in self.statuses() if one.key.name == name]
                version = max(known, default=0)
            status = self.status(name, version)
            if status.loaded is not None and not await asyncio.to_thread(_changed, status.loaded):
                return status.loaded
            if status.bundle is None:
                raise BundleInvalid(status.reason)
            self._publish(replace(status, state=BundleState.LOADING, reason=""))
            try:
                loaded = await asyncio.to_thread(self._load, status.bundle)
            except asyncio.CancelledError:  # who asked for it went away
                self._publish(status)
                raise
            except Exception as error:
                state = BundleState.FAILED if status.loaded is None else BundleState.READY
                self._publish(replace(status, state=state, reason=str(error)))
                raise
            self._publish(BundleStatus(status.key, BundleState.READY, loaded.bundle, loaded))
            return loaded

    async def load_newest_valid(self, name: str) -> None:
        """Load the highest version of `name` that can be loaded; the others show as FAILED."""
        versions = sorted(one.key.version for one in self.statuses() if one.key.name == name)
        for version in reversed(versions):
            try:
                await self.load(name, version)
            except BundleInvalid as error:
                log.error("bundle refused", bundle=f"{name}@{version}", reason=str(error))
            else:
                return

    async def unload(self, name: str, version: int = 0) -> list[BundleStatus]:
        """Take a version, or all of them where `version` is 0, out of service.

        Raises:
            BundleNotFound: it is not loaded.
        """
        async with self._changing:
            leaving = [
                one.key
                for one in self.loaded()
                if one.key.name == name and version in (0, one.key.version)
            ]
            if not leaving:
                self.get(name, version)
            for key in leaving:
                status = replace(self._status[key], state=BundleState.AVAILABLE, loaded=None)
                self._publish(status)
            return [self._status[key] for key in leaving]

    async def watch(self) -> AsyncIterator[BundleStatus]:
        """Yield every version as it is now, then each change, until the caller stops."""
        # A watcher that reads nothing is cut off by its transport long before this many changes.
        changes: asyncio.Queue[BundleStatus] = asyncio.Queue()
        self._watchers.add(changes)
        try:
            for status in self.statuses():
                yield status
            while True:
                yield await changes.get()
        finally:
            self._watchers.discard(changes)

    def _publish(self, status: BundleStatus) -> None:
        self._status[status.key] = status
        metrics.BUNDLES_READY.set(len(self.loaded()))
        log.info(
            "bundle",
            bundle=str(status.key),
            state=status.state.name,
            reason=status.reason,
            engine=status.loaded.engine if status.loaded else "",
            precision=status.loaded.precision if status.loaded else "",
        )
        for watcher in self._watchers:
            watcher.put_nowait(status)

    def _load(self, known: Bundle) -> LoadedBundle:
        bundle = read_bundle(known.directory)
        manifest = bundle.manifest
        engine_name, precision = choose_engine(
            manifest, self._config.engine, self._config.precision
        )
        graphs: dict[str, Graph] = {}
        for name in manifest.graph_names:
            try:
                engine = self._create(
                    engine_file(bundle, name, engine=engine_name, precision=precision),
                    engine=engine_name,
                    precision=precision,
                    threads=self._config.threads or default_threads(),
                )
                if name == "flow" and isinstance(engine, DeviceEngine) and engine.takes_device_rows:
                    engine.keep_on_device(["flows"])  # the features are computed there, too
                is_steady = _warm_up(engine, manifest, name, self._batch_sizes)
            except (RuntimeError, ValueError, KeyError, EngineFailed) as error:
                raise BundleInvalid(
                    f"the graph {name} of {bundle.name}@{bundle.version} cannot be loaded by "
                    f"{engine_name}: {error}; export the bundle again"
                ) from error
            graphs[name] = Graph(f"{bundle.name}/{name}", engine, is_steady=is_steady)
        first = next(iter(graphs.values())).engine
        return LoadedBundle(
            bundle=bundle,
            graphs=graphs,
            engine=first.engine,
            precision=first.precision,
            manifest_sha256=file_sha256(bundle.directory / "bundle.json"),
        )


def _changed(loaded: LoadedBundle) -> bool:
    """Say whether the bundle's files are others now than when it was loaded."""
    manifest = loaded.bundle.directory / "bundle.json"
    return manifest.is_file() and file_sha256(manifest) != loaded.manifest_sha256


def _read_checked(folder: Path, key: BundleVersion) -> Bundle:
    bundle = read_bundle(folder)
    if (bundle.name, bundle.version) != (key.name, key.version):
        raise BundleInvalid(
            f"{folder} holds {bundle.name} version {bundle.version}; rename the folder to "
            f"{bundle.name}{os.sep}{bundle.version}"
        )
    return bundle


def _warm_up(engine: Engine, manifest: Manifest, graph: str, batch_sizes: tuple[int, ...]) -> bool:
    """Run every batch size once, so that no request pays for the compilation of its shape.

    Returns:
        Whether rows have the same answers, to the last bit, in batches of any of the sizes.
    """
    rng = np.random.default_rng(0)
    rows = {
        name: rng.integers(0, 256, zeros.shape, np.uint8)
        if zeros.dtype == np.uint8
        else rng.standard_normal(zeros.shape, np.float32)
        for name, zeros in example_inputs(manifest, graph, batch_sizes[-1]).items()
    }
    if "valid" in rows:
        rows["valid"][:] = 1.0  # of a window whose frames are all there
    whole = engine.run(rows)
    is_steady = True
    for size in batch_sizes[:-1]:
        part = engine.run({name: array[:size] for name, array in rows.items()})
        is_steady &= all(
            np.array_equal(_on_host(answer), _on_host(whole[name][:size]), equal_nan=True)
            for name, answer in part.items()
        )
    return is_steady


def _on_host(answer: NDArray[Any] | Rows) -> NDArray[Any]:
    return answer.to_host() if isinstance(answer, Rows) else answer

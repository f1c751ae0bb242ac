"""A station on each device of a Ray cluster: on those that join, and again where one was lost."""

import asyncio
import dataclasses
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import ray
import structlog
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from service.cluster.pool import StationLost, StationPool
from service.cluster.start import connect
from service.cluster.station import Opened, Station, StationSetup, Task
from service.errors import RemoteFailed
from service.jobs.reports import VideoReport
from service.jobs.video import Request
from service.jobs.work import VideoProgress
from service.results import AnsweredBundle
from service.version import program_version

log = structlog.get_logger("ethostream.cluster")

_MOST_CORES = 16
"""Of one station without a GPU: a larger machine gets several, since one event loop feeds each."""
_MOST_STARTS = 3
"""Of a station on one device, where it is lost each time before it works on a video."""
_LOOK_SECONDS = 2.0
_PROGRESS_SECONDS = 1.0
_QUIET_SECONDS = 30.0
"""Without any station for this long, people are told that it is waited for one."""
_PATIENCE_SECONDS = 600.0
"""Without any station for this long, nothing is waited for any more."""
_CLOSE_SECONDS = 30.0
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Device:
    """What one station computes on."""

    node_id: str
    number: int
    """Of the devices of the node, from 0."""
    name: str
    """For people."""
    cores: int
    gpus: int


@asynccontextmanager
async def open_cluster(
    address: str,
    setup: StationSetup,
    request: Request,
    on_progress: Callable[[VideoProgress], None],
    *,
    parallel: int,
) -> AsyncIterator[StationPool]:
    """Open stations on a cluster; returns when the first one is ready.

    Args:
        address: see `connect`.
        setup: what all stations compute with.
        request: what is wanted of each video.
        on_progress: is told how far a video is.
        parallel: videos at once on each station.

    Raises:
        InvalidRequest: the address is none.
        RemoteFailed: no cluster is there, or no machine of it can compute.
    """
    with redirect_stdout(sys.stderr):  # Ray tells of lost machines there, amid a command's answer
        connect(address)
        pool = StationPool(on_progress, parallel=parallel)
        keeper = _Keeper(pool, setup, request)
        keeping = asyncio.create_task(keeper.run())
        try:
            await keeper.begun.wait()
            if keeper.reason:
                raise RemoteFailed(keeper.reason)
            yield pool
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await keeper.close()
            ray.shutdown()


def list_devices(nodes: Sequence[dict[str, Any]], engine: str) -> list[Device]:
    """Return the devices of a cluster: its GPUs, or, where it has none, shares of its cores.

    With GPUs, cores alone stay unused: their engine is another, and its numbers are.

    Args:
        nodes: as `ray.nodes` lists them.
        engine: that was asked for; one that computes on the CPU takes cores in any case.
    """
    alive = [one for one in nodes if one["Alive"]]
    takes_gpus = engine == "auto" or "tensorrt" in engine or "cuda" in engine
    if takes_gpus and any(one["Resources"].get("GPU", 0) >= 1 for one in alive):
        return [device for one in alive for device in _gpus(one)]
    return [device for one in alive for device in _shares(one)]


def _gpus(node: dict[str, Any]) -> list[Device]:
    gpus = int(node["Resources"].get("GPU", 0))
    cores = int(node["Resources"].get("CPU", 0))
    return [
        Device(node["NodeID"], number, f"{_name(node)}, GPU {number}", cores // gpus, 1)
        for number in range(gpus)
    ]


def _shares(node: dict[str, Any]) -> list[Device]:
    cores = int(node["Resources"].get("CPU", 0))
    shares = -(-cores // _MOST_CORES)
    return [
        Device(node["NodeID"], number, _name(node), cores // shares, 0) for number in range(shares)
    ]


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})"


class _Refused(Exception):
    """A station that is there cannot be used; the text says why."""


@dataclass(slots=True, eq=False)
class _RayStation:
    """A station in an actor."""

    name: str
    actor: Any
    request: Request
    was_used: bool = False
    """Whether it was given a video."""

    async def run(self, task: Task) -> VideoReport | None:
        """See `AnyStation`."""
        self.was_used = True
        try:
            report: VideoReport | None = await self.actor.run.remote(task, self.request)
        except RayTaskError as error:  # a fault of ours, that only this video may meet
            message = f"on {self.name}: {_reason(error.cause or error)}"
            return VideoReport(str(task.video.path), "failed", message=message)
        except RayError as error:
            raise StationLost(_reason(error)) from error
        return report


class _Keeper:
    """Opens and watches the stations of a pool."""

    def __init__(self, pool: StationPool, setup: StationSetup, request: Request) -> None:
        self.begun = asyncio.Event()
        """Set when there is a station, or there will be none."""
        self.reason = ""
        """Why there will be none."""
        self._pool = pool
        self._setup = setup
        self._request = request
        self._serving: dict[Device, asyncio.Task[None]] = {}
        self._starts: Counter[Device] = Counter()
        self._refused: dict[Device, str] = {}
        self._bundles: tuple[AnsweredBundle, ...] | None = None
        self._since = time.monotonic()
        """When there was a station last."""
        self._told = False

    async def run(self) -> None:
        """Look after the cluster until cancelled."""
        while True:
            try:
                nodes = await asyncio.to_thread(ray.nodes)
            except Exception as error:  # Ray raises no class of its own where the head is gone
                log.error("the head of the cluster does not answer", reason=_reason(error))
                nodes = []
            devices = list_devices(nodes, self._setup.config.engine.engine)
            for device in devices:
                self._start(device)
            self._judge(devices)
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """End all stations."""
        for task in self._serving.values():
            task.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)

    def _start(self, device: Device) -> None:
        serving = self._serving.get(device)
        if device in self._refused or (serving is not None and not serving.done()):
            return
        if serving is not None and (error := serving.exception()) is not None:
            self._refused[device] = _reason(error)
            return
        if self._starts[device] == _MOST_STARTS:
            self._refused[device] = f"its process was lost {_MOST_STARTS} times while it started"
            return
        self._starts[device] += 1
        self._serving[device] = asyncio.create_task(self._serve(device))

    def _judge(self, devices: Sequence[Device]) -> None:
        """Stop waiting where no station is to be expected."""
        now = time.monotonic()
        if self.reason:
            return
        if not self._pool.is_empty:
            self._since, self._told = now, False
            return
        waited = now - self._since
        is_hopeless = bool(devices) and all(one in self._refused for one in devices)
        if is_hopeless or waited >= _PATIENCE_SECONDS:
            told = [f"{one.name}: {why}" for one, why in self._refused.items()]
            self.reason = (
                f"no machine of the cluster can compute ({'; '.join(told) or 'none is free'}); "
                "what is done stays: run the command again when that is mended"
            )
            self._pool.give_up(self.reason)
            self.begun.set()
        elif waited >= _QUIET_SECONDS and not self._told:
            self._told = True
            log.error("no machine of the cluster is ready yet; waiting", machines=len(devices))

    async def _serve(self, device: Device) -> None:
        """Hold a station on a device until it is lost, refused, or no longer needed."""
        engine = self._setup.config.engine
        if not engine.threads and not device.gpus:
            engine = msgspec.structs.replace(engine, threads=device.cores)
        config = msgspec.structs.replace(self._setup.config, engine=engine)
        actor = (
            ray.remote(Station)
            .options(
                num_cpus=device.cores,
                num_gpus=device.gpus,
                max_restarts=0,  # a new one is opened here, a few times at most
                scheduling_strategy=NodeAffinitySchedulingStrategy(device.node_id, soft=False),
            )
            .remote(dataclasses.replace(self._setup, config=config))
        )
        station = _RayStation(device.name, actor, self._request)
        is_open = False
        try:
            self._check(await actor.open.remote())
            is_open = True
            self._pool.add(station)
            self.begun.set()
            while station not in self._pool.unshared:
                self._pool.show(station, await actor.progress.remote())
                await asyncio.sleep(_PROGRESS_SECONDS)
            raise _Refused(
                f"it does not see {self._pool.unshared[station]}, or the folder of its results; "
                "all machines need the same disk under the same path"
            )
        except (_Refused, RayTaskError) as error:
            self._refused[device] = _reason(getattr(error, "cause", None) or error)
            log.error("station refused", station=device.name, reason=self._refused[device])
        except RayError as error:
            log.error("station lost", station=device.name, reason=_reason(error))
            if getattr(error, "actor_init_failed", False):  # its program cannot be loaded there
                self._refused[device] = _reason(error)
            if station.was_used:  # each video has a bound of its own, see the pool
                self._starts[device] = 0
        finally:
            self._pool.remove(station)
            if is_open:
                with suppress(RayError, TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await actor.close.remote()
            ray.kill(actor)

    def _check(self, opened: Opened) -> None:
        """Make sure that a station gives what the others give."""
        if opened.version != program_version():
            raise _Refused(
                f"ethostream {opened.version} is installed there, {program_version()} here; "
                "install the same everywhere"
            )
        self._bundles = self._bundles or opened.bundles
        if opened.bundles != self._bundles:
            raise _Refused(
                f"it computes with {_engines(opened.bundles)}, the others with "
                f"{_engines(self._bundles)}; choose --engine and --precision that all of them have"
            )


def _engines(bundles: Sequence[AnsweredBundle]) -> str:
    return ", ".join(sorted({f"{one.engine} {one.precision}" for one in bundles}))


def _reason(error: BaseException) -> str:
    """Return the line that says why; Ray puts it at the end of many."""
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

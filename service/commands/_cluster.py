"""`--ray`: the videos of a command are worked on by a cluster of machines."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from service.bundle import find_bundles
from service.cluster.station import StationSetup
from service.commands._videos import OpenWorker
from service.config import ServiceConfig
from service.errors import BundleNotFound, EngineUnavailable
from service.jobs.finish import Finisher
from service.jobs.runner import Worker
from service.jobs.video import Request
from service.jobs.work import VideoProgress
from service.runtime import parse_bundle

_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: listen on loopback only
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to its makers
}
"""For a cluster that is started here; Ray reads them when it is imported."""


def on_cluster(
    address: str,
    models: Path,
    names: Sequence[str],
    config: ServiceConfig,
    request: Request,
    *,
    parallel: int,
) -> OpenWorker:
    """Return what works on a Ray cluster, all devices with the same bundles.

    Args:
        address: HOST:PORT of its head, auto or local.
        models: folder of bundles, under the same path on all machines.
        names: bundles, NAME or NAME@VERSION; the newest of all where none is named.
        config: of each device.
        request: what is wanted of each video.
        parallel: videos at once on each device.

    Raises:
        EngineUnavailable: Ray is not installed.
        BundleNotFound: there is no such bundle.
    """
    if address == "local":
        os.environ.update(_ALONE)
    try:
        from service.cluster.ray_cluster import open_cluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise EngineUnavailable(
            "Ray is not installed; run `uv sync --extra cluster`, or leave --ray out"
        ) from error
    setup = StationSetup(models=models.absolute(), bundles=_choose(models, names), config=config)

    @asynccontextmanager
    async def open_worker(
        finisher: Finisher, on_progress: Callable[[VideoProgress], None]
    ) -> AsyncIterator[Worker]:
        async with open_cluster(address, setup, request, on_progress, parallel=parallel) as pool:
            yield pool

    return open_worker


def _choose(models: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return NAME@VERSION of each bundle; none is loaded here."""
    known = find_bundles(models)
    chosen = []
    for text in names or sorted(known):
        name, version = parse_bundle(text)
        versions = known.get(name, {})
        if not versions or version not in (0, *versions):
            listed = ", ".join(f"{one}@{n}" for one, many in known.items() for n in sorted(many))
            raise BundleNotFound(
                f"there is no bundle {text!r}; the model folder has: {listed or 'none'}"
            )
        chosen.append(f"{name}@{version or max(versions)}")
    return tuple(chosen)

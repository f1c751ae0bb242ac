"""Starts Ray on this machine, or connects to a cluster that runs."""

import logging
import socket
from typing import Any

import ray

from service.errors import InvalidRequest, RemoteFailed

log = logging.getLogger("ethostream.cluster")

_STARTS = 3
_CONNECT_SECONDS = 10.0
_STORE_BYTES = 100_000_000
"""Of Ray's object store: only short messages pass through it."""


def connect(address: str) -> None:
    """Connect to a cluster.

    Args:
        address: HOST:PORT of its head, `auto` for the one that runs on this machine, or `local` to
            start one here.

    Raises:
        InvalidRequest: it is none of these.
        RemoteFailed: no cluster is there, or it refuses this machine.
    """
    if address == "local":
        start_ray(address="local", object_store_memory=_STORE_BYTES)
        return
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdecimal() and "/" not in host):
        raise InvalidRequest(
            f"the address {address!r} is no place of a Ray cluster; give HOST:PORT of its head (on "
            "a machine of the cluster), auto for the one that runs here, or local to start one"
        )
    remedy = (
        "start one with `ray start --head --port 6379` and, on each other machine, `ray start "
        "--address HEAD:6379`; see deploy/README.md"
    )
    if address != "auto":
        try:
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise RemoteFailed(f"no Ray cluster is at {address} ({error}); {remedy}") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises no class of its own here
        ray.shutdown()
        told = " ".join(str(error).split())
        raise RemoteFailed(
            f"the Ray cluster at {address} cannot be used from here: {told}; {remedy}"
        ) from error


def start_ray(**options: Any) -> None:
    """Start Ray on this machine; again where it gave up on its own processes, which takes 30 s.

    Args:
        **options: further ones of `ray.init`.

    Raises:
        Exception: Ray cannot be started; its own text says why.
    """
    for starts_left in reversed(range(_STARTS)):
        try:
            ray.init(
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
            return
        except Exception as error:  # Ray raises no class of its own here
            ray.shutdown()
            if not starts_left or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start in time on this busy machine; once more")

"""Who works on a video: one holder at a time, on one machine or on many that share a file system.

A lease is a file `lease-000001.json` that was created exclusively, which file systems grant to one
alone, network file systems too. Its holder writes a new beat every few seconds. A lease whose
holder ended it, is dead, or shows no new beat for long enough is followed by the next number: the
fencing number, which stands in the names of all that a holder writes, so that one that only slept
can spoil nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from service.errors import LeaseLost
from service.results.atomic import replacing

BEAT_SECONDS = 2.0
STALE_SECONDS = 30.0
"""Without a new beat for this long a holder on another machine counts as dead: long enough for a
network file system that stalls."""


_held: set[Path] = set()
"""Lease files that this process holds, whichever `LeaseTaker` took them: on a full disk the end of
one cannot be written."""


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of a lease file."""

    host: str
    """See `host_name`."""
    process: int
    process_began: float
    """See `process_start`: a process number is used again some day."""
    beat: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held."""

    folder: Path
    number: int
    """Fencing number; those of later holders are higher."""
    holder: Holder

    def check(self) -> None:
        """Make sure that it is held still; called before anything is written.

        Raises:
            LeaseLost: another holder has taken over.
        """
        newest = newest_number(self.folder)
        if newest != self.number:
            raise LeaseLost(
                f"another process has taken over {self.folder} (lease {newest}, ours was "
                f"{self.number}); it goes on with the video"
            )

    def write(self, *, beat: int, ended: bool = False) -> None:
        """Write a sign of life, or the end."""
        with replacing(lease_path(self.folder, self.number)) as path:
            path.write_bytes(
                msgspec.json.encode(msgspec.structs.replace(self.holder, beat=beat, ended=ended))
            )


class LeaseTaker:
    """Takes leases in the name of this process, and remembers the beats of others.

    Args:
        stale_seconds: without a new beat for this long a holder counts as dead.
    """

    def __init__(self, *, stale_seconds: float = STALE_SECONDS) -> None:
        self._stale_seconds = stale_seconds
        self._seen: dict[Path, tuple[int, float]] = {}
        """Beat of each foreign lease, and when it was first seen, by our own clock."""
        process = psutil.Process()
        self._me = Holder(
            host=host_name(), process=process.pid, process_began=process_start(process)
        )

    def take(self, folder: Path) -> Lease | None:
        """Take the lease of a folder; None while another process holds it."""
        folder.mkdir(parents=True, exist_ok=True)
        newest = newest_number(folder)
        if newest and self._is_held(lease_path(folder, newest)):
            return None
        lease = Lease(folder, newest + 1, self._me)
        try:
            descriptor = os.open(
                lease_path(folder, lease.number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644
            )
        except FileExistsError:
            return None  # somebody was quicker
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self._me))
        _held.add(lease_path(folder, lease.number))
        for number in range(1, lease.number):
            lease_path(folder, number).unlink(missing_ok=True)
        return lease

    @asynccontextmanager
    async def hold(self, folder: Path) -> AsyncIterator[Lease | None]:
        """Take a lease and show signs of life until the block ends; None while another holds it."""
        taking = asyncio.create_task(asyncio.to_thread(self.take, folder))
        try:
            lease = await asyncio.shield(taking)
        except asyncio.CancelledError:  # its thread takes the lease all the same
            with suppress(OSError):
                if (lease := await taking) is not None:
                    await asyncio.to_thread(_end, lease)
            raise
        if lease is None:
            yield None
            return
        is_over = asyncio.Event()
        beating = asyncio.create_task(_beat(lease, is_over))
        try:
            yield lease
        finally:
            is_over.set()
            await beating  # a beat that is being written would take the place of the end
            await asyncio.to_thread(_end, lease)

    def _is_held(self, path: Path) -> bool:
        try:
            holder = msgspec.json.decode(path.read_bytes(), type=Holder)
        except (OSError, msgspec.MsgspecError):
            holder = None  # being written right now, or by a process that was killed at it
        if holder is not None:
            if holder.ended:
                return False
            if holder.host == self._me.host:
                is_ours = holder.process == self._me.process and _is_alive(holder)
                return path in _held if is_ours else _is_alive(holder)
        beat = holder.beat if holder else -1
        now = time.monotonic()
        known, since = self._seen.get(path, (None, now))
        if known != beat:
            self._seen[path] = (beat, now)
            return True
        return now - since < self._stale_seconds


def newest_number(folder: Path) -> int:
    """Return the highest fencing number of a folder; 0 where there is none."""
    numbers = [
        int(text)
        for path in folder.glob("lease-*.json")
        if (text := path.stem.removeprefix("lease-")).isdecimal()
    ]
    return max(numbers, default=0)


def lease_path(folder: Path, number: int) -> Path:
    """Path of a lease file."""
    return folder / f"lease-{number:06d}.json"


def host_name() -> str:
    """Return the name of where process numbers count: host, and on Linux its boot and namespace.

    Containers may share the name of the host, but not its numbers; machines made from one image
    share the name alone.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def process_start(process: psutil.Process) -> float:
    """Return when a process began, s, the same whenever it is asked."""
    began = process.create_time()
    # Linux counts from the boot, and tells the time of that anew whenever the clock is set.
    return began - psutil.boot_time() if psutil.LINUX else began


async def _beat(lease: Lease, is_over: asyncio.Event) -> None:
    beat = 0
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                await is_over.wait()
                return
        beat += 1
        with suppress(OSError):  # a stalled file system: the next beat may come through
            await asyncio.to_thread(lease.write, beat=beat)


def _end(lease: Lease) -> None:
    """Give a lease back; one that another holder has taken over stays as it is."""
    _held.discard(lease_path(lease.folder, lease.number))
    with suppress(OSError):  # the file system went away, or is full: `_held` tells
        if newest_number(lease.folder) == lease.number:
            lease.write(beat=0, ended=True)


def _is_alive(holder: Holder) -> bool:
    try:
        return abs(process_start(psutil.Process(holder.process)) - holder.process_began) < 1.0
    except psutil.NoSuchProcess:
        return False

"""One holder at a time, whatever becomes of the one before."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from service.errors import LeaseLost
from service.jobs import lease as module
from service.jobs.lease import (
    Holder,
    Lease,
    LeaseTaker,
    host_name,
    lease_path,
    newest_number,
    process_start,
)


def write_holder(folder: Path, number: int, **changes: object) -> None:
    holder = Holder(host="elsewhere", process=1, process_began=0.0)
    folder.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.encode(msgspec.structs.replace(holder, **changes))
    lease_path(folder, number).write_bytes(content)


async def test_a_lease_is_given_to_one_and_again_when_it_has_ended(tmp_path: Path) -> None:
    one, other = LeaseTaker(), LeaseTaker()
    async with one.hold(tmp_path / "a") as lease:
        assert lease is not None
        assert lease.number == 1
        lease.check()
        async with other.hold(tmp_path / "a") as second:
            assert second is None
        async with one.hold(tmp_path / "a") as third:
            assert third is None  # nor twice to the same process
        async with other.hold(tmp_path / "b") as elsewhere:
            assert elsewhere is not None
    async with other.hold(tmp_path / "a") as lease:
        assert lease is not None
        assert lease.number == 2
    assert newest_number(tmp_path / "a") == 2
    assert not lease_path(tmp_path / "a", 1).exists()


def test_many_processes_that_ask_at_once_get_one_lease(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from service.jobs.lease import LeaseTaker\n"
        "taker = LeaseTaker(); folder = Path(sys.argv[1])\n"
        "while not (folder.parent / 'go').exists(): time.sleep(0.001)\n"
        "print(taker.take(folder) is not None, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "video")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    asking = [subprocess.Popen(command, **pipes) for _ in range(4)]
    try:
        (tmp_path / "go").touch()
        answers = [one.stdout.readline().strip() for one in asking]
    finally:
        for one in asking:
            one.communicate("", timeout=60)
    assert sorted(answers) == ["False", "False", "False", "True"]
    # All of them are dead by now: the next one need not wait.
    assert LeaseTaker().take(tmp_path / "video") is not None


def test_a_process_with_the_number_of_a_dead_one_does_not_hold_its_lease(tmp_path: Path) -> None:
    other = psutil.Process(os.getppid())
    mine = {"host": host_name(), "process": other.pid}
    write_holder(tmp_path, 3, **mine, process_began=process_start(other) - 100)
    lease = LeaseTaker().take(tmp_path)
    assert lease is not None
    assert lease.number == 4
    write_holder(tmp_path, 5, **mine, process_began=process_start(other))
    assert LeaseTaker().take(tmp_path) is None


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere processes keep the time of their start")
def test_a_holder_stays_one_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LeaseTaker().take(tmp_path / "video") is not None
    # As /proc shows it when the clock was set by an hour; /proc/stat tells the time of the boot.
    lines = Path("/proc/stat").read_text().splitlines()
    later = [f"btime {int(one.split()[1]) + 3600}" for one in lines if one.startswith("btime")]
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text("\n".join(later))
    (tmp_path / "proc" / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    assert LeaseTaker().take(tmp_path / "video") is None


async def test_a_lease_whose_end_could_not_be_written_is_free_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with LeaseTaker().hold(tmp_path) as lease:
        assert lease is not None
        assert LeaseTaker().take(tmp_path) is None
        monkeypatch.setattr(module.Lease, "write", fail)
    monkeypatch.undo()
    assert LeaseTaker().take(tmp_path) is not None


async def test_a_lease_that_came_too_late_for_who_asked_is_given_back(tmp_path: Path) -> None:
    taker = LeaseTaker()

    async def ask() -> None:
        async with taker.hold(tmp_path):
            raise AssertionError("it was cancelled before")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)  # its thread is at it
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()
    assert b'"ended":true' in lease_path(tmp_path, 1).read_bytes()
    assert taker.take(tmp_path) is not None


async def test_the_end_is_not_written_by_the_loop_that_others_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[threading.Thread] = []
    monkeypatch.setattr(
        module.Lease, "write", lambda *_, **__: writers.append(threading.current_thread())
    )
    async with LeaseTaker().hold(tmp_path):
        pass
    assert len(writers) == 1
    assert threading.current_thread() not in writers


async def test_no_beat_comes_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.001)
    write = module.Lease.write

    def write_slowly(lease: Lease, *, beat: int, ended: bool = False) -> None:
        time.sleep(0 if ended else 0.02)
        write(lease, beat=beat, ended=ended)

    monkeypatch.setattr(module.Lease, "write", write_slowly)
    async with LeaseTaker().hold(tmp_path) as lease:
        assert lease is not None
        await asyncio.sleep(0.01)  # a beat is being written
    await asyncio.sleep(0.05)
    assert b'"ended":true' in lease_path(tmp_path, lease.number).read_bytes()


def test_a_holder_elsewhere_counts_as_dead_when_its_beat_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    taker = LeaseTaker(stale_seconds=30)
    write_holder(tmp_path, 1, beat=1)
    assert taker.take(tmp_path) is None
    now += 29
    assert taker.take(tmp_path) is None
    write_holder(tmp_path, 1, beat=2)
    now += 29
    assert taker.take(tmp_path) is None  # it beats
    now += 29
    assert taker.take(tmp_path) is None
    now += 2
    lease = taker.take(tmp_path)
    assert lease is not None
    assert lease.number == 2


def test_a_lease_file_that_a_killed_process_left_empty_grows_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lease_path(tmp_path, 1).touch()
    taker = LeaseTaker(stale_seconds=30)
    assert taker.take(tmp_path) is None
    now += 31
    assert taker.take(tmp_path) is not None


async def test_a_holder_that_slept_learns_that_it_lost_its_lease(tmp_path: Path) -> None:
    async with LeaseTaker().hold(tmp_path) as lease:
        assert lease is not None
        write_holder(tmp_path, 2)
        with pytest.raises(LeaseLost, match="has taken over"):
            lease.check()
        lease.write(beat=7)  # a late beat changes nothing
        assert newest_number(tmp_path) == 2
    assert not msgspec.json.decode(lease_path(tmp_path, 2).read_bytes(), type=Holder).ended


async def test_a_held_lease_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    async with LeaseTaker().hold(tmp_path) as lease:
        assert lease is not None
        async with asyncio.timeout(30):
            beats: set[int] = set()
            while len(beats) < 3:
                await asyncio.sleep(0.01)
                content = lease_path(tmp_path, 1).read_bytes()
                beats.add(msgspec.json.decode(content, type=Holder).beat)
    assert msgspec.json.decode(lease_path(tmp_path, 1).read_bytes(), type=Holder).ended

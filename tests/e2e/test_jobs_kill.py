"""Whatever is killed and whenever: the results are those of a run that nobody disturbed."""

import os
import random
import signal
import time
from pathlib import Path

import ethostream
import h5py
import numpy as np
import psutil
import pytest

from clients.testdata.record import BEHAVIOR, MODELS, POSE
from service.format_names import FORMATS
from service.results import read_results
from tests.e2e.archives import EXACT, PATIENCE_S, watch_to_the_end, write_clip

KILLS = 20
FRAMES = (3000, 2000, 4000, 40)
HDF5 = {".h5", ".slp", ".nwb"}


class KilledServer:
    """A server that is killed again and again, or one of its workers, and started anew."""

    def __init__(self, start_server, *arguments: str) -> None:
        self._start = lambda: start_server(*arguments, models=MODELS)
        self._running = self._start()
        self.killed = {"server": 0, "worker": 0}

    @property
    def address(self) -> str:
        return self._running.address

    def stop(self) -> int:
        return self._running.stop()

    def kill_server(self) -> None:
        self._running.process.kill()
        self._running.process.wait(30)
        self.killed["server"] += 1
        self._running = self._start()

    def kill_worker(self, chance: random.Random) -> None:
        """Kill a process that decodes, or one that writes results."""
        children = psutil.Process(self._running.process.pid).children(recursive=True)
        workers = [one for one in children if "resource_tracker" not in " ".join(_command(one))]
        if workers:
            os.kill(chance.choice(workers).pid, signal.SIGKILL)
            self.killed["worker"] += 1


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return ["resource_tracker"]  # it went by itself: nobody to kill


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_servers_and_workers_leave_no_trace_in_the_results(start_server, tmp_path, seed):
    pytest.importorskip("sleap_io", reason="uv sync --extra analysis: formats that need it")
    for number, frames in enumerate(FRAMES):
        write_clip(tmp_path / "videos" / f"{number}.mp4", frames=frames, seed=number)
    chance = random.Random(seed)
    server = KilledServer(
        start_server,
        *EXACT,
        *("--root", str(tmp_path), "--results", str(tmp_path), "--jobs", str(tmp_path / "jobs")),
    )
    job_id = submit(server.address, "killed")
    deadline = time.monotonic() + 3 * PATIENCE_S
    while sum(server.killed.values()) < KILLS:
        assert time.monotonic() < deadline, f"only {server.killed} within the time"
        time.sleep(chance.uniform(0.0, 3.0))
        if chance.random() < 0.5:
            server.kill_server()
        else:
            server.kill_worker(chance)
        job_id = go_on(server.address, job_id)
    finish(server.address, job_id)
    finish(server.address, submit(server.address, "calm"))
    assert server.stop() == 0
    compare(tmp_path / "killed", tmp_path / "calm")


def submit(address: str, out: str, *, overwrite: bool = False) -> str:
    with ethostream.Client(address) as client:
        job = client.jobs.submit(
            "videos", bundles=[POSE, BEHAVIOR], formats=tuple(FORMATS), out=out, overwrite=overwrite
        )
    return job.job_id


def go_on(address: str, job_id: str) -> str:
    """Have what failed with its decoder tried again; do all anew where nothing is left to kill."""
    with ethostream.Client(address) as client:
        job = client.jobs.get(job_id)
        if job.state == "failed":
            client.jobs.retry(job_id)
    return submit(address, "killed", overwrite=True) if job.state == "done" else job_id


def finish(address: str, job_id: str) -> None:
    """Wait for the end; what a kill made fail is tried again."""
    job = watch_to_the_end(address, job_id)[-1]
    if job.state == "failed":
        with ethostream.Client(address) as client:
            client.jobs.retry(job_id)
        job = watch_to_the_end(address, job_id)[-1]
    assert job.state == "done", job.listed


def compare(killed: Path, calm: Path) -> None:
    names = sorted(path.name for path in calm.iterdir() if path.is_file())
    assert [sorted(path.name for path in killed.iterdir() if path.is_file())] == [names]
    assert {Path(name).suffix for name in names} == {".parquet", ".csv", *HDF5}
    for name in names:
        ours, theirs = killed / name, calm / name
        if ours.suffix in HDF5:
            assert content(ours) == content(theirs), name
        else:
            assert ours.read_bytes() == theirs.read_bytes(), name
    for number, frames in enumerate(FRAMES):
        index = read_results(killed / f"{number}.parquet").frame_index
        np.testing.assert_array_equal(index, np.arange(frames))
    work = killed / ".ethostream"
    assert not [path for path in work.rglob("*") if path.suffix == ".chunk"]
    assert not list(work.rglob("files-*"))


def content(path: Path) -> list[tuple[str, object]]:
    """The arrays of an HDF5 file, without the dates in its headers and NWB's date of writing."""
    found: list[tuple[str, object]] = []

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and name != "file_create_date":
            values = np.asarray(item[()])
            is_text = values.dtype.kind == "O"
            found.append((name, values.tolist() if is_text else values.tobytes()))

    with h5py.File(path) as file:
        file.visititems(look)
    assert found
    return found

"""Two machines of a Ray cluster, here two nodes on loopback, give the bytes that one would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from service.jobs.lease import Holder, lease_path, newest_number
from service.simulation import SimulationSettings, simulate, write_recording

pytest.importorskip("ray", reason="run `uv sync --inexact --extra cluster`")
pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]  # those of Ray

MODEL = "openfield-mouse"
VIDEOS = 3
FRAMES = 600
LIMIT_S = 900
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only
    "RAY_worker_niceness": "0",  # else 15: on a busy machine they would never get on
}


class Nodes:
    """A head that computes nothing, and two nodes of one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False},
        )
        for _ in range(2):
            self.cluster.add_node(**NODE)

    def loss_of(self, process_id: int) -> None:
        """Lose the node of a process, without a word."""
        raylets = [one.pid for one in psutil.Process(process_id).parents()]
        (node,) = [
            one
            for one in self.cluster.worker_nodes
            if one.all_processes["raylet"][0].process.pid in raylets
        ]
        self.cluster.remove_node(node, allow_graceful=False)

    def join(self) -> None:
        """Another node comes."""
        self.cluster.add_node(**NODE)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        settings = SimulationSettings(
            width_px=320, height_px=240, duration_s=FRAMES / 30, seed=number
        )
        write_recording(simulate(settings), folder, name=f"v{number}")
    return folder


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a run on one machine."""
    out = tmp_path_factory.mktemp("here")
    subprocess.run(analyze(videos, out), check=True, capture_output=True, timeout=LIMIT_S)
    return read(out)


def analyze(videos: Path, out: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ethostream.commands", "analyze", str(videos), "--out", str(out)),
        *("--model", MODEL, "--format", "dlc-csv", "--json", *options),
    ]


def read(out: Path) -> dict[str, bytes]:
    files = [*out.glob("*.parquet"), *out.glob("*.csv")]
    assert len(files) == 2 * VIDEOS
    return {path.name: path.read_bytes() for path in files}


def holders(out: Path) -> dict[str, Holder]:
    """Who holds, or held, the lease of each video."""
    found = {}
    for folder in (out / ".ethostream").glob("v*"):
        path = lease_path(folder, newest_number(folder))
        try:
            found[folder.name] = msgspec.json.decode(path.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            continue  # written right now
    return found


def in_work(out: Path) -> dict[str, int]:
    """Videos of which some rows are on disk, and the process that works on each."""
    return {
        name: one.process
        for name, one in holders(out).items()
        if not one.ended and any((out / ".ethostream" / name / "chunks").glob("rows-*.chunk"))
    }


def wait_for_work(command: subprocess.Popen[str], out: Path, *, processes: int) -> dict[str, int]:
    deadline = time.monotonic() + LIMIT_S
    while len(set((found := in_work(out)).values())) < processes:
        assert time.monotonic() < deadline
        assert command.poll() is None, command.communicate()
        time.sleep(0.05)
    return found


def begin(nodes: Nodes, videos: Path, out: Path) -> subprocess.Popen[str]:
    options = ("--ray", nodes.cluster.address, "--parallel", "1")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(analyze(videos, out, *options), text=True, **pipes)


def end(command: subprocess.Popen[str]) -> dict[str, int]:
    """Wait for the end; return how many frames of each video an interrupted run had left."""
    try:
        told, errors = command.communicate(timeout=LIMIT_S)
    finally:
        command.kill()
    assert command.returncode == 0, errors
    reports = json.loads(told)["videos"]
    assert [(one["state"], one["frames"]) for one in reports] == [("done", FRAMES)] * VIDEOS
    return {Path(one["video"]).stem: one["resumed_frames"] for one in reports}


def test_two_nodes_share_the_videos_and_give_the_same_bytes(
    nodes: Nodes, videos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    resumed = end(begin(nodes, videos, out))
    assert set(resumed.values()) == {0}
    assert read(out) == expected
    assert len({one.process for one in holders(out).values()}) == 2


def test_a_process_that_is_killed_and_a_node_that_is_lost_cost_nothing_but_time(
    nodes: Nodes, videos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = begin(nodes, videos, out)
    try:
        working = wait_for_work(command, out, processes=2)
        killed, process_id = next(iter(working.items()))
        os.kill(process_id, signal.SIGKILL)
        others = {name: other for name, other in working.items() if other != process_id}
        lost, process_id = next(iter(others.items()))
        nodes.loss_of(process_id)
        nodes.join()
        resumed = end(command)
    finally:
        command.kill()
        command.wait(60)
    assert resumed[killed] > 0
    assert resumed[lost] > 0
    assert read(out) == expected


def test_a_command_that_is_stopped_leaves_its_videos_to_the_next_one_at_once(
    nodes: Nodes, videos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = begin(nodes, videos, out)
    try:
        working = wait_for_work(command, out, processes=2)
        command.send_signal(signal.SIGINT)
        assert command.wait(LIMIT_S) != 0
    finally:
        command.kill()
        command.communicate()
    assert all(holders(out)[name].ended for name in working)
    resumed = end(begin(nodes, videos, out))
    assert all(resumed[name] > 0 for name in working)
    assert read(out) == expected


def test_a_cluster_of_this_machine_alone_gives_the_same_bytes_and_ends_with_the_command(
    videos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    command = analyze(videos / "v0.mp4", tmp_path, "--ray", "local")
    done = subprocess.run(
        command,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "v0.parquet").read_bytes() == expected["v0.parquet"]
    holder = holders(tmp_path)["v0"]
    with suppress(psutil.NoSuchProcess):
        psutil.Process(holder.process).wait(60)

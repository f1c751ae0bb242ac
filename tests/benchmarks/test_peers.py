"""Peers are told of where they are missing, and what is there is asked in its own protocol."""

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch", reason="uv sync --extra cpu --extra train")
from benchmarks import peer_clients, peers
from benchmarks.peer_pose import write_exported_model
from benchmarks.peer_rows import Comparison, Load, Turn, table
from benchmarks.peer_servers import awake, stopped
from benchmarks.report import REPOSITORY
from benchmarks.servers import server_process
from export.importers.dlc import read_network

pytestmark = pytest.mark.needs_train

BUNDLE = "openfield-mouse"
SIZE_PX = 32
PICTURES = [bytes([level]) * (SIZE_PX * SIZE_PX * 3) for level in (0, 100, 200)]


@pytest.fixture(scope="module")
def server():
    models = str(REPOSITORY / "deploy" / "models")
    with server_process(
        "benchmarks.fake_server", "--models", models, "--bundle", BUNDLE
    ) as process:
        yield process


def run_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[dict[str, object], str]:
    """Return the line of JSON and what is printed before it."""
    monkeypatch.setattr(sys, "argv", ["peers", *map(str, arguments)])
    assert peers.main() == 0
    text, _, line = capsys.readouterr().out.rstrip().rpartition("\n")
    return json.loads(line), text


def test_a_missing_peer_is_told_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "litserve" / "bin").mkdir(parents=True)
    (tmp_path / "litserve" / "bin" / "python").touch()
    result, text = run_peers(monkeypatch, capsys, "--peers", tmp_path, "--parts", "pose")
    assert result["rows"] == []
    assert set(result["missing"]) == {"PyTriton", "DLC-Live"}
    command = result["missing"]["DLC-Live"]
    assert f"DLC-Live  not there; make it with: {command}" in text
    assert command.startswith(f"uv venv {tmp_path}/dlclive && uv pip install")
    assert '"deeplabcut-live[pytorch]==' in command


def test_without_peers_this_server_is_measured_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--parts", "servers", "--seconds", 0.2, "--turns", 1)
    result, _ = run_peers(monkeypatch, capsys, "--peers", tmp_path, *arguments)
    rows = result["rows"]
    assert [(row["peer"], row["concurrency"]) for row in rows] == [
        ("bare loop", 1),
        ("bare loop", 4),
        ("bare loop", 16),
    ]
    for row in rows:
        assert row["share"] == 1.0
        assert row["ours_ratio"] == row["ours_share"] > 0


@pytest.mark.parametrize("client", [peer_clients.ethostream, peer_clients.open_inference])
def test_clients_are_answered_by_this_server(server, client: peer_clients.Client) -> None:
    load = asyncio.run(
        peer_clients.load(
            client, server.port, model=BUNDLE, size_px=SIZE_PX, pictures=PICTURES, concurrency=3,
            seconds=0.3,
        )
    )  # fmt: skip
    assert load.frames_per_s > 0
    assert 0 < load.p50_ms <= load.p99_ms


@pytest.mark.parametrize("status", [b"200 OK", b"500 Internal Server Error"])
def test_a_frame_for_litserve_is_posted_as_it_is(status: bytes) -> None:
    seen: list[bytes] = []

    async def ask_twice() -> None:
        hung_up = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readline():
                    head += await reader.readuntil(b"\r\n\r\n")
                    assert b"Content-Length: %d\r\n" % len(PICTURES[0]) in head
                    seen.append(await reader.readexactly(len(PICTURES[0])))
                    body = b'{"keypoints": [[[1, 2, 3]]]}'
                    writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
                    writer.write(body)
            finally:
                writer.close()
                await writer.wait_closed()
                hung_up.set()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as one:
            port = one.sockets[0].getsockname()[1]
            try:
                async with peer_clients.litserve(port, "", SIZE_PX) as ask:
                    for picture in PICTURES[:2]:
                        await ask(picture)
            finally:
                await asyncio.wait_for(hung_up.wait(), 60)

    if status.startswith(b"200"):
        asyncio.run(ask_twice())
        assert seen == PICTURES[:2]
    else:
        with pytest.raises(AssertionError, match="500 Internal Server Error"):
            asyncio.run(ask_twice())


def test_a_server_that_is_not_measured_is_stopped(server) -> None:
    process = psutil.Process(server.pid)

    def is_stopped_at_last(wanted: bool) -> bool:
        until = time.monotonic() + 30
        while (process.status() == psutil.STATUS_STOPPED) != wanted and time.monotonic() < until:
            time.sleep(0.01)
        return process.status() == psutil.STATUS_STOPPED

    with stopped(server):
        assert is_stopped_at_last(True)
        with awake(server):
            assert not is_stopped_at_last(False)
        assert is_stopped_at_last(True)
    assert not is_stopped_at_last(False)


def test_a_row_has_medians_and_ratios_of_the_same_turn() -> None:
    turns = [
        Turn(Load(10, 100, 110), Load(20, 50, 60), Load(40, 25, 30)),
        Turn(Load(1, 1000, 1100), Load(3, 500, 600), Load(4, 250, 300)),
        Turn(Load(10, 100, 120), Load(40, 50, 70), Load(40, 25, 30)),
    ]
    row = Comparison("PyTriton", "net", "onnxruntime fp32", 4, turns, goal=1.0).row()
    assert (row["frames_per_s"], row["p50_ms"], row["p99_ms"]) == (10, 100, 120)
    assert (row["ours_frames_per_s"], row["ours_p50_ms"], row["ours_p99_ms"]) == (20, 50, 70)
    assert row["ours_ratio"] == 3.0
    assert (row["share"], row["ours_share"]) == (0.25, 0.75)
    assert (row["added_p50_ms"], row["ours_added_p50_ms"]) == (75, 25)
    ((label, text),) = table([row])
    assert label == "PyTriton, net, 4 at once"
    assert text.endswith("3.00 x (goal 1)")

    alone = Comparison("DLC-Live", "net", "openvino int8", 1, [Turn(turns[0].peer, turns[0].ours)])
    assert "share" not in alone.row()
    assert table([alone.row()])[0][1].endswith("2.00 x")


@pytest.mark.parametrize("backbone", ["resnet50_gn", "resnet50"])
def test_the_exported_model_is_read_by_the_importer(backbone: str, tmp_path: Path) -> None:
    network = read_network(write_exported_model(tmp_path / "exported.pt", backbone))
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(23.7e6, rel=0.01)
    # Nothing that is the same for all channels, which an engine could leave out.
    assert all(float(one.detach().std()) > 0 for one in network.parameters() if one.ndim == 1)

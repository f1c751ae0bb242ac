"""The demo's server starts, tells why where it does not, and always ends."""

import os
from pathlib import Path

import pytest

from service.commands._shipped import SHIPPED_MODELS
from service.demo.server_process import ServerDidNotStart, ServerProcess, start_server


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def start_and_fail(log: Path, servers: list[ServerProcess]) -> None:
    with start_server(SHIPPED_MODELS, ["openfield-mouse"], log=log) as server:
        servers.append(server)
        assert server.wait_until_serving(90).startswith("127.0.0.1:")
        assert is_running(server.process_id)
        raise RuntimeError("something in the demo broke")


def test_a_server_ends_with_its_block_also_after_an_error(tmp_path: Path) -> None:
    servers: list[ServerProcess] = []
    with pytest.raises(RuntimeError, match="something in the demo broke"):
        start_and_fail(tmp_path / "server.log", servers)
    assert not is_running(servers[0].process_id)
    assert '"event": "stopped"' in (tmp_path / "server.log").read_text()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        start_server(tmp_path / "nothing", [], log=tmp_path / "server.log") as server,
        pytest.raises(ServerDidNotStart, match=r"ended with status 1: .*nothing does not exist"),
    ):
        server.wait_until_serving(60)
    assert not is_running(server.process_id)


def test_a_server_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with (
        start_server(SHIPPED_MODELS, ["openfield-mouse"], log=log) as server,
        pytest.raises(ServerDidNotStart, match=r"did not serve within 0\.01 s; see .*server\.log"),
    ):
        server.wait_until_serving(0.01)
    assert not is_running(server.process_id)

"""Ray is started again where a busy machine let it give up; a wrong address is told at once."""

import socket

import pytest

from service.errors import InvalidRequest, RemoteFailed

pytest.importorskip("ray", reason="run `uv sync --inexact --extra cluster`")

LATE = "The current node timed out during startup. This could happen because"


class _Failures(list[Exception]):
    done: list[str]


@pytest.fixture
def failing(monkeypatch) -> _Failures:
    """Failures of the next starts, and what was called; the starts after them succeed."""
    import ray

    failures = _Failures()
    failures.done = []

    def init(**_: object) -> None:
        failures.done.append("init")
        if failures:
            raise failures.pop(0)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: failures.done.append("shutdown"))
    return failures


def test_a_late_node_is_started_again(failing):
    from service.cluster.start import start_ray

    failing.append(Exception(LATE))
    start_ray()
    assert failing.done == ["init", "shutdown", "init"]


def test_after_three_starts_its_error_is_told(failing):
    from service.cluster.start import start_ray

    failing.extend(Exception(LATE) for _ in range(3))
    with pytest.raises(Exception, match="timed out during startup"):
        start_ray()
    assert failing.done == ["init", "shutdown"] * 3


def test_another_failure_is_told_at_once(failing):
    from service.cluster.start import start_ray

    failing.append(ValueError("no such address"))
    with pytest.raises(ValueError, match="no such address"):
        start_ray()
    assert failing.done == ["init", "shutdown"]


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:port", ""])
def test_what_is_no_address_is_told(failing, address):
    from service.cluster.start import connect

    with pytest.raises(InvalidRequest, match="give HOST:PORT of its head") as told:
        connect(address)
    assert repr(address) in str(told.value)
    assert failing.done == []


def test_where_nobody_listens_there_is_no_cluster(failing):
    from service.cluster.start import connect

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(RemoteFailed, match="ray start --head") as told:
        connect(address)
    assert address in str(told.value)
    assert failing.done == []  # Ray would try for minutes


def test_what_a_cluster_says_against_this_machine_is_told(failing):
    from service.cluster.start import connect

    failing.append(RuntimeError("Version mismatch: the cluster\n has another Ray"))
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(RemoteFailed, match="mismatch: the cluster has another Ray") as told:
            connect(address)
    assert address in str(told.value)
    assert failing.done == ["init", "shutdown"]


def test_a_cluster_of_this_machine_alone_is_small_and_quiet(failing, monkeypatch):
    from service.cluster.start import connect

    options = {}
    monkeypatch.setattr("ray.init", lambda **given: options.update(given))
    connect("local")
    assert options["address"] == "local"
    assert options["include_dashboard"] is False
    assert options["object_store_memory"] <= 200_000_000

"""Ray is started again where a busy machine let it give up, and other failures are told."""

import pytest

pytest.importorskip("ray", reason="uv sync --extra search")
pytestmark = pytest.mark.needs_train

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
    from training.behavior.search.ray_trials import start_ray

    failing.append(Exception(LATE))
    start_ray()
    assert failing.done == ["init", "shutdown", "init"]


def test_after_three_starts_its_error_is_told(failing):
    from training.behavior.search.ray_trials import start_ray

    failing.extend(Exception(LATE) for _ in range(3))
    with pytest.raises(Exception, match="timed out during startup"):
        start_ray()
    assert failing.done == ["init", "shutdown"] * 3


def test_another_failure_is_told_at_once(failing):
    from training.behavior.search.ray_trials import start_ray

    failing.append(ValueError("no such address"))
    with pytest.raises(ValueError, match="no such address"):
        start_ray()
    assert failing.done == ["init", "shutdown"]

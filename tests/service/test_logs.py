import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from service.logs import configure_logs


@pytest.fixture(autouse=True)
def default_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_with_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    structlog.get_logger("test").info("bundle", state="READY")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["state"], line["level"]) == ("bundle", "READY", "info")
    assert "timestamp" in line


def test_a_log_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logs("json")
    log = structlog.get_logger("test")
    log.info("before")

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), io.StringIO()):
        if not isinstance(stream, Gone):
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        log.error("after")

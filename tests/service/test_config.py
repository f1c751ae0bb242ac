"""Settings that cannot be meant are refused at the start, with their names."""

from pathlib import Path

import pytest

from service.config import load_config
from service.errors import InvalidConfig


@pytest.mark.parametrize(
    ("section", "line", "problem"),
    [
        ("server", "max_streams = 0", "server.max_streams is 0; give at least 1"),
        ("server", "drain_seconds = -1.0", "server.drain_seconds is -1.0; give at least 0"),
        ("server", "drain_seconds = nan", "server.drain_seconds is nan; give a finite number"),
        ("server", "drain_seconds = inf", "server.drain_seconds is inf; give a finite number"),
        ("server", "max_message_mib = 2048", "server.max_message_mib is 2048; give at most 2047"),
        ("engine", "threads = -1", "engine.threads is -1"),
        ("engine", 'precision = "half"', "engine.precision is 'half'; give one of auto, fp32"),
        ("engine", 'engine = "tflite"', "engine.engine is 'tflite'; give one of auto"),
        ("session", "max_width_px = 0", "session.max_width_px is 0"),
        ("session", "idle_seconds = inf", "session.idle_seconds is inf"),
        ("archive", "frames_per_chunk = 0", "archive.frames_per_chunk is 0"),
        ("video", "max_upload_mib = 0", "video.max_upload_mib is 0"),
        ("video", "upload_hours = -1.0", "video.upload_hours is -1.0"),
        ("jobs", "parallel = 0", "jobs.parallel is 0"),
        ("jobs", "paralel = 1", "paralel"),
    ],
)
def test_settings_outside_their_range_are_refused(
    section: str, line: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "service.toml"
    path.write_text(f"[{section}]\n{line}\n")
    with pytest.raises(InvalidConfig, match=problem):
        load_config(path)


def test_a_file_that_is_not_utf_8_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_bytes("[jobs]\n# M\xe4use\n".encode("latin-1"))
    with pytest.raises(InvalidConfig, match=r"not UTF-8 \(byte 10\); save it as UTF-8"):
        load_config(path)

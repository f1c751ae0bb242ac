"""Engine, decoder and the rest are measured on the same frames as the whole."""

import json
import sys

import pytest

pytest.importorskip("torch", reason="uv sync --extra cpu --extra train")
from benchmarks import end_to_end

pytestmark = [pytest.mark.full, pytest.mark.needs_train]


def test_every_part_of_an_archive_is_measured(tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    arguments = ["--networks", "realtime-64x64", "--frames", "60", "--rounds", "1"]
    monkeypatch.setattr(end_to_end, "configure_logs", lambda *_: None)  # it is for all of a process
    monkeypatch.setattr(sys, "argv", ["end_to_end", *arguments, "--out", str(out)])
    assert end_to_end.main() == 0
    assert "realtime-64x64, end to end" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["rows"]
    rates = row["frames_per_s"]
    assert rates.keys() == {"engine", "decoder", "rest", "end to end"}
    assert min(rates.values()) > 0
    whole = rates["end to end"] / min(rates["engine"], rates["decoder"])
    assert row["ratio"] == pytest.approx(whole, rel=0.05)
    assert row["cpu_ms_per_frame"] > 0


def test_processes_side_by_side_are_measured_too(tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    arguments = ["--networks", "realtime-64x64", "--frames", "60", "--rounds", "1"]
    monkeypatch.setattr(end_to_end, "configure_logs", lambda *_: None)
    monkeypatch.setattr(
        sys, "argv", ["end_to_end", *arguments, "--processes", "2", "--out", str(out)]
    )
    assert end_to_end.main() == 0
    assert "realtime-64x64, end to end in 2 processes" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["rows"]
    assert row["processes"] == 2
    assert row["frames_per_s"]["rest in processes"] > 0
    assert row["frames_per_s"]["end to end in processes"] > 0

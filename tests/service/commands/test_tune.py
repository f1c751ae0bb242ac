"""`ethostream tune` measures and writes settings, or says what is wrong before it measures."""

import json
import shutil
from pathlib import Path

import pytest
from ethostream.commands import main

from service.config import load_config
from service.tuning import engines

MODELS = Path(__file__).parents[3] / "clients" / "testdata" / "models"


@pytest.fixture
def quick(monkeypatch):
    """Few combinations."""
    monkeypatch.setattr(engines, "BATCH_SIZES", (1, 2))
    monkeypatch.setattr(engines, "default_threads", lambda: 1)


def tune(out: Path, *options: str, latency_ms: float = 60_000) -> int:
    line = ["tune", "--models", str(MODELS), "--latency-ms", str(latency_ms), "--out", str(out)]
    return main([*line, "--seconds", "0.001", "--size", "96x64", *options])


def test_the_settings_are_written_and_the_measurements_can_be_read(quick, tmp_path, capsys):
    out = tmp_path / "tuned.toml"
    assert tune(out, "--json") == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    config = load_config(out)
    assert told["bundles"] == ["vector-motion@1", "vector-points@1"]
    assert config.models.load == ("vector-motion", "vector-points")
    assert config.engine.engine == told["chosen"]["engine"]
    assert config.scheduler.batch_sizes[-1] == told["chosen"]["largest_batch"]
    assert config.video.decode_workers == told["decode_workers"]
    assert {one["batch_size"] for one in told["timings"]} == {1, 2}
    assert captured.err.count("threads 1, batch 2") == len(told["timings"]) // 2


def test_a_table_says_what_was_chosen_and_how_to_start(quick, tmp_path, capsys):
    out = tmp_path / "tuned.toml"
    assert tune(out, "--model", "vector-points@1") == 0
    text = capsys.readouterr().out
    assert "chosen" in text
    assert f"ethostream serve --config {out}" in text.replace("\n", " ")
    assert load_config(out).models.load == ("vector-points@1",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "640"), "--size is '640'"),
        (("--size", "99999x64"), "width_px is 99999"),
        (("--seconds", "0"), "--seconds is 0; give"),
        (("--seconds", "nan"), "--seconds is nan"),
        (("--seconds", "inf"), "--seconds is inf"),
        (("--latency-ms", "nan"), "--latency-ms is nan"),
        (("--latency-ms", "-1"), "--latency-ms is -1"),
        (("--model", "nobody"), "vector-motion, vector-points"),
        (("--model", "vector-points@7"), "there is no bundle 'vector-points@7'"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, capsys, options, message):
    assert tune(tmp_path / "tuned.toml", *options) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "batch 1" not in told


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    out = tmp_path / "tuned.toml"
    out.write_text("mine")
    assert tune(out) == 1
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_latency_that_nothing_keeps_is_told_and_nothing_written(quick, tmp_path, capsys):
    out = tmp_path / "tuned.toml"
    assert tune(out, latency_ms=0.0001) == 1
    assert "no setting keeps 0.0001 ms" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_without_bundles_is_told(tmp_path, capsys):
    empty = tmp_path / "models"
    empty.mkdir()
    line = ["tune", "--models", str(empty), "--latency-ms", "10", "--out", str(tmp_path / "t.toml")]
    assert main(line) == 1
    assert "holds no bundle" in capsys.readouterr().err
    shutil.rmtree(empty)
    assert main(line) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert tune(tmp_path / "file" / "tuned.toml") == 1
    said = capsys.readouterr()
    assert "ethostream: Not a directory" in said.err or "ethostream: File exists" in said.err
    assert str(tmp_path / "file") in said.err
    assert "batch" not in said.err

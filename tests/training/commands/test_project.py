import argparse
from pathlib import Path

import pytest

from training.commands import project


def call(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    project.configure(parser)
    return project.run(parser.parse_args([str(word) for word in words]))


def test_a_simulated_project_is_made_checked_and_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--width", "96", "--height", "80")
    assert call("simulate", "--out", tmp_path / "p", "--frames", "2", *size) == 0
    assert call("check", tmp_path / "p") == 0
    assert "2 frames, 1 animal(s)" in capsys.readouterr().out
    assert (tmp_path / "p" / "label-check" / "labels.png").is_file()
    assert call("convert", tmp_path / "p", "--to", "csv", "--out", tmp_path / "csv") == 0
    assert len(list((tmp_path / "csv").glob("labeled-data/*/*.csv"))) == 2

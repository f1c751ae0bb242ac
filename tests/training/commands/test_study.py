import argparse
import json
from pathlib import Path

import pytest

from service.errors import InvalidConfig
from training.commands import study

pytestmark = pytest.mark.needs_train

TINY = (
    "--presets tiny --splits 1 --size 96x64 --view-px 64 --views-per-epoch 4 --batch-size 2 "
    "--precision 32-true --backbone-weights random --epochs 2 --threads 1"
)


def call(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    study.configure(parser)
    return study.run(parser.parse_args([str(one) for one in arguments]))


def test_a_study_trains_tells_its_table_and_goes_on_where_it_stopped(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    arguments = ("pose", "steps", project, "--out", out, *TINY.split())
    assert call(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = json.loads(lines[-1])
    assert (summary["study"], summary["done"], summary["failed"]) == ("steps", 1, [])
    assert summary["rows"][0]["test_error_px"] > 0
    assert "0 of them done before" in lines[0]
    assert {path.name for path in out.iterdir()} >= {"table.md", "rows.csv", "study.png"}

    assert call(*arguments) == 0
    assert "1 of them done before" in capsys.readouterr().out.splitlines()[0]
    with pytest.raises(InvalidConfig, match="other settings"):
        call(*arguments, "--learning-rate", "0.1")


def test_choices_that_cannot_be_are_refused_before_training(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with pytest.raises(InvalidConfig, match=r"mobilenet_v2=w\.pth"):
        call("pose", "splits", project, "--out", out, "--backbone-weights", "w.pth")
    with pytest.raises(InvalidConfig, match="a share is 2"):
        call("pose", "size", project, "--out", out, "--shares", "0.5", "2")
    assert not out.exists()

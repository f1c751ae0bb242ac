import argparse
import csv
import json
from pathlib import Path

import pytest
import torch

from service.errors import InvalidConfig
from training.data.labels import InvalidLabels
from training.pose import command
from training.runs import open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--size 96x64 --view-px 64 --views-per-epoch 4 --batch-size 2 --threads 2 --precision 32-true"
)


def train(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(one) for one in arguments]))


def test_a_tiny_training_runs_and_resumes(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "tiny"
    simulated = ["--simulated-share", "0.5", "--simulated-frames", "2"]
    assert train(project, "--out", out, "--epochs", "1", *TINY.split(), *simulated) == 0

    run = open_run(out)
    split = run.split()
    assert (len(split.training), len(split.validation), len(split.test)) == (9, 1, 2)
    assert run.config["keypoints"] == ["leftear", "rightear"]
    assert run.config["left_right"] == [["leftear", "rightear"]]

    # One more epoch than the finished run was told to train.
    config = json.loads((out / "config.json").read_text())
    config["config"]["loop"]["max_epochs"] = 2
    (out / "config.json").write_text(json.dumps(config))
    assert train("--out", out, "--resume") == 0
    assert torch.load(run.last_checkpoint, weights_only=True)["epoch"] == 1
    with run.metrics_table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(float(row["heldout_error_px"]) > 0 for row in rows)
    assert all(float(row["simulated_error_px"]) > 0 for row in rows)
    assert run.split() == split


def test_arguments_that_cannot_work_are_refused_before_training(
    project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "never"
    with pytest.raises(InvalidConfig, match="no data was named"):
        train("--out", out)
    with pytest.raises(InvalidConfig, match="multiples of 32"):
        train(project, "--out", out, "--size", "100x64")
    with pytest.raises(InvalidConfig, match="--skeleton names nose"):
        train(project, "--out", out, "--skeleton", "nose:leftear")
    with pytest.raises(InvalidConfig, match=r"none\.pth does not exist"):
        train(project, "--out", out, "--backbone-weights", tmp_path / "none.pth")
    with pytest.raises(InvalidConfig, match="simulated share is 1"):
        train(project, "--out", out, "--simulated-share", "1")
    with pytest.raises(InvalidLabels, match="name the folder of a DeepLabCut project"):
        train(tmp_path, "--out", out)
    with pytest.raises(InvalidConfig, match="leave out"):
        train(project, "--out", out, "--resume")
    assert not out.exists()


def test_a_size_and_a_pair_are_checked_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--size", "384"), ("--skeleton", "snout")):
        with pytest.raises(SystemExit):
            train("data", "--out", "run", option, value)
        assert f"{value!r} is not a" in capsys.readouterr().err

import argparse
import csv
import json
from pathlib import Path

import pytest
import torch

from service.errors import InvalidConfig
from training.data.labels import InvalidLabels
from training.data.splits import SplitSettings, split_frames
from training.pose import command
from training.pose.launch import start_pose_run
from training.pose.settings import PoseChoices
from training.runs import open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--backbone-weights random --size 96x64 --view-px 64 --views-per-epoch 4 --batch-size 2 "
    "--threads 2 --precision 32-true"
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
    with pytest.raises(InvalidConfig, match="the skeleton names nose"):
        train(project, "--out", out, "--skeleton", "nose:leftear")
    with pytest.raises(InvalidConfig, match=r"none\.pth does not exist"):
        train(project, "--out", out, "--backbone-weights", tmp_path / "none.pth")
    with pytest.raises(InvalidConfig, match="simulated share is 1"):
        train(project, "--out", out, "--simulated-share", "1")
    with pytest.raises(InvalidLabels, match="DeepLabCut project"):
        train(tmp_path, "--out", out)
    with pytest.raises(InvalidConfig, match="leave out"):
        train(project, "--out", out, "--resume")
    assert not out.exists()


@pytest.mark.parametrize(
    ("labelled", "use"), [("training", "choose the epoch"), ("validation", "train")]
)
def test_a_part_of_the_split_without_a_point_is_refused_before_training(
    project: Path, tmp_path: Path, labelled: str, use: str
) -> None:
    (table,) = project.glob("labeled-data/*/*.csv")
    lines = table.read_text().splitlines()
    names = [line.split(",")[0].removeprefix("labeled-data/") for line in lines[3:]]
    kept = getattr(split_frames(names, SplitSettings()), labelled)
    for place, name in enumerate(names, 3):
        if name not in kept:
            lines[place] = lines[place].split(",")[0] + ",,,,"
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "runs" / "never"
    with pytest.raises(InvalidLabels, match=f"frames that {use} has a point of leftear, rightear"):
        train(project, "--out", out, "--epochs", "1", *TINY.split())
    assert not out.exists()


def test_a_keypoint_that_nobody_placed_is_named(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (table,) = project.glob("labeled-data/*/*.csv")
    lines = table.read_text().splitlines()
    cells = [line.split(",") for line in lines[3:]]
    table.write_text("\n".join([*lines[:3], *(",".join([*one[:3], "", ""]) for one in cells)]))
    start_pose_run([project], tmp_path / "runs" / "one-ear", PoseChoices(size_px=(96, 64)))
    assert "no frame that trains has rightear" in caplog.text


def test_a_size_and_a_pair_are_checked_by_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--size", "384"), ("--skeleton", "snout")):
        with pytest.raises(SystemExit):
            train("data", "--out", "run", option, value)
        assert f"{value!r} is not a" in capsys.readouterr().err


def test_a_file_of_settings_is_taken_and_options_win_over_it(project: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        'backbone_weights = "random"\nsize_px = [96, 64]\nview_px = 64\nviews_per_epoch = 4\n'
        'batch_size = 2\nthreads = 2\nepochs = 3\nkeypoints = ["rightear"]\n'
        "[split]\nvalidation_share = 0.0\n[augment]\nrotation_degrees = 5.0\n"
    )
    out = tmp_path / "runs" / "told"
    assert train(project, "--out", out, "--config", settings, "--epochs", "1") == 0
    run = open_run(out)
    config = run.config
    assert config["keypoints"] == ["rightear"]
    assert config["augment"]["rotation_degrees"] == 5.0
    assert config["loop"]["max_epochs"] == 1
    assert run.split().validation == ()
    assert run.best_checkpoint() == run.last_checkpoint
    figures = json.loads(run.evaluation.read_text())
    assert set(figures) == {"training", "test"}

    settings.write_text("epoch = 3\n")
    with pytest.raises(InvalidConfig, match="unknown field `epoch`"):
        train(project, "--out", tmp_path / "runs" / "other", "--config", settings)


def test_a_run_goes_on_from_another_with_its_held_out_frames_and_its_weights(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    assert train(project, "--out", first, "--epochs", "1", *TINY.split()) == 0
    picture = next((project / "labeled-data" / "video1").glob("*.png"))
    extra = project / "labeled-data" / "video2"
    extra.mkdir()
    (extra / "img0.png").write_bytes(picture.read_bytes())
    (extra / "CollectedData_person.csv").write_text(
        "scorer,person,person,person,person\nbodyparts,leftear,leftear,rightear,rightear\n"
        "coords,x,y,x,y\nlabeled-data/video2/img0.png,20,20,40,40\n"
    )
    options = "--views-per-epoch 4 --batch-size 2 --threads 2 --epochs 1 --precision 32-true"
    assert train(project, "--out", second, "--from", first, *options.split()) == 0
    before, after = open_run(first), open_run(second)
    assert after.split().test == before.split().test
    assert "video2/img0.png" in after.split().training
    assert after.config["input"] == before.config["input"]
    assert after.config["parent"] == str(first.resolve())
    assert "test error of the run before" in caplog.text
    with pytest.raises(InvalidConfig, match=r"radius_px is to be 14\.0, but the parent"):
        train(project, "--out", tmp_path / "no", "--from", first, "--radius-px", "14")

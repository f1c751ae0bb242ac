import argparse
import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pandas as pd
import pytest
import torch

from service.bundle import BehaviorSpec
from service.errors import InvalidConfig, NotFound
from tests.training.behavior.tiny import TINY, train
from training.behavior.evaluate import Prediction
from training.behavior.figures import summarize
from training.behavior.launch import with_config
from training.behavior.presets import flow_augment
from training.behavior.settings import BehaviorTraining
from training.behavior.stages import (
    read_decisions,
    read_networks,
    read_settings,
    split_recordings,
)
from training.behavior.train import train_behavior
from training.commands import evaluate
from training.data.behavior_labels import BehaviorProject, BehaviorRecording
from training.data.labels import InvalidLabels
from training.runs import Run, create_run, open_run

pytestmark = pytest.mark.needs_train

TINY_PARTS = f"{TINY} --validation mouse1 --test mouse2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, behavior_project: Path) -> Run:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert train(behavior_project, "--out", out, *TINY_PARTS.split()) == 0
    return open_run(out)


def test_a_run_holds_all_that_export_needs(trained: Run) -> None:
    settings = read_settings(trained)
    assert settings.behaviors == ("locomotion", "rearing", "grooming", "wall_contact")
    assert settings.frame_rate_hz == 10
    assert trained.split().training == ("mouse0",)
    assert trained.split().test == ("mouse2",)
    networks = read_networks(trained)
    assert not networks.features.training
    decisions = read_decisions(trained)
    assert len(decisions.thresholds) == 4
    assert all(0 < threshold < 1 for threshold in decisions.thresholds)
    assert all(shortest >= 1 for shortest in decisions.min_bout_frames)


def test_the_same_seed_gives_the_same_networks(
    trained: Run, behavior_project: Path, tmp_path: Path
) -> None:
    assert train(behavior_project, "--out", tmp_path / "again", *TINY_PARTS.split()) == 0
    first, again = read_networks(trained), read_networks(open_run(tmp_path / "again"))
    for one, other in (
        (first.flow, again.flow),
        (first.features, again.features),
        (first.sequence, again.sequence),
    ):
        assert one is not None
        assert other is not None
        stored = other.state_dict()
        for name, value in one.state_dict().items():
            assert torch.equal(value, stored[name]), name
    assert read_decisions(trained) == read_decisions(open_run(tmp_path / "again"))


def test_a_run_is_measured_on_its_test_recordings(
    trained: Run, behavior_project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    evaluate.configure(parser)
    told = []
    for more in (
        ["--report", str(tmp_path), "--features-alone"],
        [str(behavior_project), "--part", "all"],
    ):
        arguments = parser.parse_args([str(trained.directory), *more, "--json"])
        assert evaluate.run(arguments) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [one["recordings"] for one in told] == [1, 3]
    assert list(told[0]["per_recording"]) == ["mouse2"]
    assert told[0]["engine"] == "torch:cpu"
    alone = told[0]["features_alone"]
    assert alone["frames"] == told[0]["frames"]
    assert alone["auroc"] != told[0]["auroc"]
    for name in ("report.html", "flow.json", "flow.png"):
        assert (tmp_path / name).stat().st_size > 100


def test_a_finished_run_is_resumed_without_training_again(trained: Run) -> None:
    path = trained.directory / "features" / "checkpoints" / "best.ckpt"
    before = path.read_bytes()
    assert train("--out", trained.directory, "--resume") == 0
    assert path.read_bytes() == before


def test_an_interrupted_run_continues_with_the_stage_that_is_missing(trained: Run) -> None:
    decisions = read_decisions(trained)
    (trained.directory / "sequence" / "finished").unlink()
    (trained.directory / "decisions.json").unlink()
    with pytest.raises(NotFound, match="finish the training with --resume"):
        read_decisions(trained)
    assert train("--out", trained.directory, "--resume") == 0
    assert len(read_decisions(trained).thresholds) == len(decisions.thresholds)


def test_a_run_of_changed_labels_is_not_continued(trained: Run) -> None:
    config = trained.config | {"data_sha256": "0" * 64}
    changed = create_run(trained.directory.parent, "changed", "behavior", config)
    with pytest.raises(InvalidLabels, match="began with 000000000000"):
        train_behavior(changed, weights=None, resume=False)


def test_a_run_is_not_continued_with_other_backbone_weights(trained: Run, tmp_path: Path) -> None:
    config = trained.config | {"backbone_weights": "imagenet.pth 0123"}
    begun = create_run(tmp_path, "begun", "behavior", config)
    other = tmp_path / "other.pth"
    other.write_bytes(b"weights")
    for weights in (None, other):
        with pytest.raises(InvalidConfig, match="began with the backbone weights imagenet"):
            train_behavior(begun, weights=weights, resume=True)


def test_arguments_that_contradict_are_refused(trained: Run, behavior_project: Path) -> None:
    with pytest.raises(InvalidConfig, match="leave out"):
        train(behavior_project, "--out", trained.directory, "--resume")
    with pytest.raises(InvalidConfig, match="no data was named"):
        train("--out", trained.directory.parent / "other")
    held = ("--validation", "mouse1", "--test", "mouse2")
    crop = (*TINY_PARTS.split(), "--flow-crop", "72x64")
    with pytest.raises(InvalidConfig, match=r"parts of 72x64 px.*at most the input's 64x64"):
        train(behavior_project, "--out", trained.directory.parent / "other", *crop)
    with pytest.raises(InvalidConfig, match="give at least 64x64"):
        train(
            behavior_project, "--out", trained.directory.parent / "other", "--size", "32x32", *held
        )
    curriculum = ("--preset", "deg_f", "--curriculum", "--features-epochs")
    out = ("--out", trained.directory.parent / "other", *held)
    with pytest.raises(InvalidConfig, match="three parts, but the features have 2 epochs"):
        train(behavior_project, *out, *curriculum, 2)
    with pytest.raises(InvalidConfig, match="has no streams to train apart"):
        train(behavior_project, *out, *curriculum, 3, "--fusion", "concatenate")


def test_without_names_the_split_is_drawn_so_that_each_part_has_every_behavior(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run_deepethogram"  # whose videos may be folders of pictures
    for number in range(6):
        name = f"mouse [{number}]"
        pictures = folder / "DATA" / name / name
        pictures.mkdir(parents=True)
        for frame in range(12):
            picture = np.full((72, 96), 40 + frame, np.uint8)
            cv2.imwrite(str(pictures / f"frame{frame}.png"), picture)
        labels = {"background": [1, 0] * 6, "run": [0, 1] * 6}
        pd.DataFrame(labels).to_csv(folder / "DATA" / name / f"{name}_labels.csv")
    (folder / "project_config.yaml").write_text(
        "project: {name: run, class_names: [background, run], data_path: DATA}\n"
    )
    options = f"{TINY} --split-seed 4 --frame-rate 10"
    with pytest.raises(InvalidLabels, match="give --frame-rate"):
        train(folder, "--out", tmp_path / "no-rate", "--size", "64x64")
    assert train(folder, "--out", tmp_path / "run", *options.split()) == 0
    split = open_run(tmp_path / "run").split()
    assert [len(part) for part in (split.training, split.validation, split.test)] == [4, 1, 1]


def test_settings_of_a_file_take_their_places(trained: Run, tmp_path: Path) -> None:
    settings, path = read_settings(trained), tmp_path / "best.toml"
    path.write_text("features.learning_rate = 0.01\ndropout = 0.1\n")
    changed = with_config(settings, path)
    assert (changed.features.learning_rate, changed.dropout) == (0.01, 0.1)
    assert changed.features.epochs == settings.features.epochs
    path.write_text("features.speed = 3\n")
    with pytest.raises(InvalidConfig, match=r"best\.toml holds no settings .*speed"):
        with_config(settings, path)


def test_the_flow_of_deg_trains_without_noise(trained: Run) -> None:
    settings = read_settings(trained)
    assert flow_augment(settings) == settings.augment
    for preset in ("deg_f", "deg_m", "deg_s"):
        other = msgspec.structs.replace(settings, preset=preset, sequence_model="none")
        assert flow_augment(other) == msgspec.structs.replace(
            settings.augment, noise_probability=0.0
        )
    assert settings.augment.noise_probability > 0


def test_a_split_needs_recordings_of_each_kind(trained: Run) -> None:
    settings = read_settings(trained)
    labels = np.zeros((5, 4), np.int8)
    recordings = tuple(
        BehaviorRecording(f"mouse{number}", Path("none.mp4"), labels, ((0, 5),))
        for number in range(3)
    )
    project = BehaviorProject(settings.behaviors, recordings)
    both = msgspec.structs.replace(settings, validation=("mouse2",))
    with pytest.raises(InvalidConfig, match="1 of them twice"):
        split_recordings(project, both)
    all_of_them = msgspec.structs.replace(settings, test=("mouse?",), validation=("mouse1",))
    with pytest.raises(InvalidConfig, match="0 recordings train"):
        split_recordings(project, all_of_them)
    unknown = msgspec.structs.replace(settings, test=("rat*",))
    with pytest.raises(InvalidConfig, match=r"'rat\*'; there are mouse0, mouse1, mouse2"):
        split_recordings(project, unknown)


def make_spec(settings: BehaviorTraining | None = None) -> BehaviorSpec:
    return BehaviorSpec(
        behaviors=("background", "run", "rear"),
        exclusive=True,
        thresholds=(0.5,) * 3,
        min_bout_frames=(1, 1, 2),
        frame_rate_hz=10.0,
        flow_frames=1,
        past_frames=1,
        future_frames=0,
        feature_size=4,
        state_size=4,
    )


def test_figures_of_a_worked_example() -> None:
    truth = np.array([0, 1, 1, 1, 0, 2, 2, 2])
    said = np.array([0, 1, 1, 2, 0, 2, 2, 2])
    logits = np.eye(3, dtype=np.float32)[said] * 8
    logits[[0, 4]] = np.nan  # first frames of the clips have no past
    one = Prediction("one", logits, np.eye(3, dtype=np.int8)[truth], ((0, 4), (4, 8)))
    figures = summarize([one], make_spec(), shuffles=10)
    assert figures["frames"] == 6
    assert figures["frames_without_context"] == 2
    assert figures["accuracy"] == pytest.approx(5 / 6)
    assert figures["macro_f1"] == pytest.approx((0.8 + 6 / 7) / 2)
    # The lone frame of rearing is removed and becomes background, which no label says.
    assert figures["macro_f1_after_bout_rule"] == pytest.approx((0.8 + 1.0 + 0.0) / 3)
    assert figures["clips"] == 2
    assert figures["clip_accuracy"] == 1.0
    assert figures["per_class"]["background"]["f1"] is None
    run = figures["per_class"]["run"]
    told = {name: run[name] for name in ("f1", "precision", "recall", "auroc", "frames")}
    assert told == {
        "f1": pytest.approx(0.8),
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "auroc": pytest.approx(5 / 6, abs=0.02),
        "frames": 3,
    }
    assert figures["chance_f1"] < figures["macro_f1"]


def test_recordings_without_any_context_are_refused() -> None:
    logits = np.full((4, 3), np.nan, np.float32)
    one = Prediction("one", logits, np.zeros((4, 3), np.int8), ((0, 4),))
    with pytest.raises(InvalidConfig, match="no frame is labelled and has 1 earlier frames"):
        summarize([one], make_spec())


def test_without_validation_recordings_the_last_epoch_is_taken(
    behavior_project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "unwatched"
    options = f"{TINY} --test mouse2".split()
    assert train(behavior_project, "--out", out, *options, "--features-epochs", 2) == 0
    run = open_run(out)
    assert run.split().validation == ()
    assert run.split().training == ("mouse0", "mouse1")
    assert read_decisions(run).thresholds == (0.5,) * 4
    assert not list(out.rglob("best.ckpt"))
    assert read_networks(run).sequence is not None

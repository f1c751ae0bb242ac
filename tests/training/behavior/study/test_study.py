import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.bundle import BehaviorSpec
from service.errors import InvalidConfig
from training.behavior.evaluate import Prediction
from training.behavior.study.bootstrap import compare, macro_f1
from training.behavior.study.settings import BehaviorRow, StudySettings, plan_rows
from training.behavior.study.tables import (
    BehaviorResult,
    differences,
    markdown_table,
    summarize_rows,
)
from training.behavior.study.worker import clip_counts
from training.commands import study
from training.data.behavior_labels import read_behavior_project

pytestmark = pytest.mark.needs_train

TINY = (
    "--size 64x64 --flow-frames 2 --dilations 1 2 --threads 1 --flow-epochs 1 --flow-samples 16 "
    "--features-epochs 1 --features-samples 16 --sequence-epochs 1 --precision 32-true"
)


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    study.configure(parser)
    return parser.parse_args([str(one) for one in arguments])


def bases(arguments: argparse.Namespace, data: Path) -> dict:  # type: ignore[type-arg]
    from training.behavior.study.command import _bases

    return _bases(arguments, read_behavior_project([data], exclusive=False))


def test_a_study_trains_tells_its_table_and_goes_on_where_it_stopped(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    options = ("--out", out, "--folds", 3, "--splits", 1, *TINY.split())
    arguments = parsed("behavior", "splits", labelled, *options)
    assert study.run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = json.loads(lines[-1])
    assert (summary["study"], summary["done"], summary["failed"]) == ("splits", 1, [])
    (row,) = summary["rows"]
    assert (row["series"], row["runs"]) == ("realtime", 1)
    assert 0 <= row["macro_f1"] <= 1
    assert row["sequence_gain"] == pytest.approx(row["macro_f1"] - row["features_macro_f1"])
    assert {path.name for path in out.iterdir()} >= {"table.md", "rows.csv", "study.png"}
    stored = msgspec.json.decode((out / "rows/realtime-split1.json").read_bytes())
    assert np.array(stored["figures"]["test"]["clip_counts"]).shape == (1, 4, 3)
    assert not list((out / "runs").rglob("*.ckpt"))

    assert study.run(arguments) == 0
    assert "1 of them done before" in capsys.readouterr().out.splitlines()[0]
    with pytest.raises(InvalidConfig, match="other settings"):
        study.run(parsed("behavior", "splits", labelled, *options, "--flow-epochs", 2))


def test_each_fold_is_the_test_once_and_what_is_left_out_trains_nowhere(
    labelled: Path,
) -> None:
    project = read_behavior_project([labelled], exclusive=False)
    given = bases(parsed("behavior", "size", labelled, "--out", "x"), labelled)
    settings = StudySettings(kind="size", folds=3, splits=3, shares=(0.5, 1.0), last_epoch=True)
    rows = plan_rows(settings, given, project)
    assert [row.key for row in rows] == [
        f"realtime-{share}-split{split}" for split in (1, 2, 3) for share in ("0.5", "1")
    ]
    tests = [row.choices.settings.test for row in rows[::2]]
    assert sorted(name for test in tests for name in test) == ["mouse0", "mouse1", "mouse2"]
    for few, all_of_them in zip(rows[::2], rows[1::2], strict=True):
        assert len(few.choices.settings.left_out) == 1
        assert all_of_them.choices.settings.left_out == ()
        assert few.choices.settings.validation == ()
        assert set(few.choices.settings.left_out).isdisjoint(few.choices.settings.test)


def test_presets_have_weights_and_settings_of_their_own(labelled: Path, tmp_path: Path) -> None:
    for name, epochs in (("all", 7), ("one", 9)):
        (tmp_path / f"{name}.toml").write_text(f"features.epochs = {epochs}\n")
    arguments = parsed(
        *("behavior", "splits", labelled, "--out", tmp_path / "s"),
        *("--presets", "realtime", "deg_f", "--config", tmp_path / "all.toml"),
        f"deg_f={tmp_path / 'one.toml'}",
    )
    given = bases(arguments, labelled)
    assert {name: one.features.epochs for name, (one, _) in given.items()} == {
        "realtime": 7,
        "deg_f": 9,
    }
    assert given["deg_f"][0].preset == "deg_f"
    arguments.backbone_weights = ["weights.pth"]
    with pytest.raises(InvalidConfig, match=r"realtime=weights\.pth"):
        bases(arguments, labelled)


def test_impossible_studies_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="6 splits of 5 folds"):
        StudySettings(kind="splits", splits=6)
    with pytest.raises(InvalidConfig, match="give more"):
        StudySettings(kind="splits", folds=2, splits=1)
    with pytest.raises(InvalidConfig, match="a share is 2"):
        StudySettings(kind="size", shares=(2.0,))


def test_clip_counts_sum_to_what_the_f1_is_made_of() -> None:
    spec = BehaviorSpec(
        behaviors=("run", "rear"),
        exclusive=False,
        thresholds=(0.5, 0.5),
        min_bout_frames=(1, 1),
        frame_rate_hz=10,
        flow_frames=1,
        past_frames=1,
        future_frames=0,
        feature_size=1,
        state_size=1,
    )
    logits = np.array([[np.nan, np.nan], [2, 2], [2, -2], [-2, -2], [-2, 2]], np.float32)
    labels = np.array([[1, 1], [1, 0], [1, 0], [1, 1], [0, -1]], np.int8)
    found = Prediction("mouse", logits, labels, ((0, 1), (1, 3), (3, 5)))
    counts = clip_counts([found], spec)
    assert counts.tolist() == [[[2, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]]
    assert macro_f1(counts.sum(axis=0)) == pytest.approx((2 * 2 / (2 * 2 + 1) + 0) / 2)


def test_the_bootstrap_is_paired_and_tells_a_sure_difference_from_a_chance_one() -> None:
    random = np.random.default_rng(0)
    clips = random.integers(0, 8, (60, 3, 3))
    same = compare([clips], [clips])
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    better = clips.copy()
    better[..., 1] = 0  # no false alarms
    sure = compare([better], [clips])
    assert 0 < sure.low < sure.mean < sure.high
    assert compare([better], [clips]) == sure
    mixed = [clips[random.permutation(60)] for _ in range(2)]
    unsure = compare(mixed[:1], mixed[1:])
    assert unsure.low < 0 < unsure.high
    with pytest.raises(InvalidConfig, match="different clips"):
        compare([clips], [clips[:10]])


def result_of(row: BehaviorRow, f1: float) -> BehaviorResult:
    right = round(f1 * 10)
    counts = [[[right, 10 - right, 10 - right]] * 4] * 5
    figures = {"macro_f1": f1, "chance_f1": 0.1, "accuracy": f1, "auroc": None}
    return BehaviorResult(
        row=row,
        data_sha256="abc",
        frames={"training": 100, "validation": 20, "test": 30},
        parameters=1000,
        seconds=60.0,
        commit="c",
        figures={"test": {**figures, "clip_counts": counts}},
    )


def test_the_table_states_means_spreads_and_differences(labelled: Path) -> None:
    project = read_behavior_project([labelled], exclusive=False)
    given = bases(
        parsed("behavior", "splits", labelled, "--out", "x", "--presets", "realtime"),
        labelled,
    )
    given["deg_f"] = given["realtime"]
    rows = plan_rows(StudySettings(kind="splits", folds=3, splits=2), given, project)
    results = [
        result_of(row, {"realtime": 0.8, "deg_f": 0.7}[row.series] + 0.1 * (row.choices.split - 1))
        for row in rows
    ]
    assert [(one["series"], one["runs"]) for one in summarize_rows(results)] == [
        ("realtime", 2),
        ("deg_f", 2),
    ]
    found = differences(results)["deg_f", "realtime"]
    assert found.mean == pytest.approx(-0.1)
    table = markdown_table("splits", results)
    assert "| realtime | 2 | 100 | 30 | 0.85 ± 0.05 |" in table
    assert "AUROC" not in table
    assert "Macro F1 of deg_f minus that of realtime: -0.100" in table

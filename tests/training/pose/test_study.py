import csv
import threading
import time
from pathlib import Path

import msgspec
import pytest

from service.errors import InvalidConfig
from training.data.projects import read_projects
from training.data.splits import SplitSettings
from training.pose.settings import PoseChoices
from training.pose.study.plots import draw_study
from training.pose.study.settings import KINDS, PoseRow, StudyKind, StudySettings, plan_rows
from training.pose.study.tables import (
    PoseResult,
    keypoint_records,
    markdown_table,
    run_record,
    summarize_rows,
)
from training.pose.study.worker import PoseRows
from training.study.drive import ProcessTrainer, RowFailed, run_study
from training.study.rows import Job
from training.study.tables import text_table, write_csv
from training.study.worker import train_row

pytestmark = pytest.mark.needs_train

KEYPOINTS = ("leftear", "rightear")
BASE = PoseChoices(
    backbone_weights="random",
    size_px=(96, 64),
    view_px=64,
    views_per_epoch=4,
    batch_size=2,
    epochs=2,
    precision="32-true",
)


class QuickTrainer:
    """Answers at once, with errors that depend on the row; some rows fail."""

    result_type = PoseResult

    def __init__(self, failing: tuple[str, ...] = ()) -> None:
        self.trained: list[str] = []
        self.failing = failing
        self.stopped = threading.Event()

    def train(self, job: Job[PoseChoices], folder: Path) -> PoseResult:
        if job.row.key in self.failing:
            raise RowFailed("the training ended with status 1")
        self.trained.append(job.row.key)
        return result_of(job.row, job.data_sha256)

    def stop(self) -> None:
        self.stopped.set()


def result_of(row: PoseRow, data_sha256: str = "abc") -> PoseResult:
    error = float(row.choices.split.seed) + (row.x or 0)
    keypoints = row.choices.keypoints or KEYPOINTS
    part = {
        "mean_error_px": error,
        "per_keypoint": {k: {"mean_error_px": error} for k in keypoints},
    }
    held_out = "test" if row.choices.split.test_share else "validation"
    return PoseResult(
        row=row,
        data_sha256=data_sha256,
        frames={"training": 8, "validation": 0, "test": 2},
        parameters=1_500_000,
        seconds=60.0,
        commit="c",
        figures={"training": {"mean_error_px": error / 2}, held_out: part},
        curve=[{"step": 4.0, "epoch": 0.0, "heldout_error_px": 9.0}, {"step": 8.0, "epoch": 1.0}],
    )


def study(kind: StudyKind, **chosen: object) -> StudySettings:
    return StudySettings(kind=kind, base=BASE, **chosen)


def test_random_splits_are_paired_over_the_presets_and_choose_nothing() -> None:
    rows = plan_rows(study("splits", splits=3), KEYPOINTS)
    assert [row.key for row in rows] == [
        f"{preset}-split{seed}" for seed in (1, 2, 3) for preset in ("tiny", "fast")
    ]
    for row in rows:
        assert row.choices.preset == row.series
        assert row.choices.split.validation_share == 0
        assert row.choices.split.test_share == 0.2
    assert rows[0].choices.split == rows[1].choices.split
    assert rows[0].choices.split != rows[2].choices.split


def test_each_kind_varies_what_it_is_named_for() -> None:
    size = plan_rows(study("size", shares=(0.01, 0.5), splits=1), KEYPOINTS)
    assert [(row.x, row.choices.split.test_share) for row in size] == [(0.01, 0.99), (0.5, 0.5)]
    assert {row.choices.epochs for row in size} == {2}  # the same number of steps
    radius = plan_rows(study("radius", radii_px=(8.0, 17.0), splits=1), KEYPOINTS)
    assert [row.choices.radius_px for row in radius] == [8, 17]
    assert radius[0].choices.split == radius[1].choices.split
    subsets = plan_rows(study("subsets", splits=1), KEYPOINTS)
    assert [row.choices.keypoints for row in subsets] == [(), ("leftear",), ("rightear",)]
    networks = plan_rows(study("networks", backbones=("resnet_18", "resnet_34")), KEYPOINTS)
    assert [(row.series, row.choices.backbone) for row in networks] == [
        ("fast", None),
        ("resnet_18", "resnet_18"),
        ("resnet_34", "resnet_34"),
    ]
    (steps,) = plan_rows(study("steps"), KEYPOINTS)
    assert steps.choices.split == SplitSettings(validation_share=0.2, test_share=0.0, seed=1)


def test_weights_are_given_to_the_backbone_that_they_are_named_for() -> None:
    settings = study(
        "networks", presets=("fast",), backbones=("resnet_18",), backbone_weights={"resnet_18": "r"}
    )
    weights = [row.choices.backbone_weights for row in plan_rows(settings, KEYPOINTS)]
    assert weights == ["random", "r"]


def test_a_study_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="a share is 1"):
        study("size", shares=(0.5, 1.0))
    with pytest.raises(InvalidConfig, match="0 splits"):
        study("splits", splits=0)
    with pytest.raises(InvalidConfig, match="nose is not labelled"):
        plan_rows(study("subsets", groups=(("nose",),)), KEYPOINTS)
    with pytest.raises(InvalidConfig, match=r"fast-8-split1 would be trained twice"):
        plan_rows(study("radius", radii_px=(8.0, 8.0)), KEYPOINTS)


def test_rows_that_are_done_are_not_trained_again_and_failed_ones_are(tmp_path: Path) -> None:
    rows = plan_rows(study("splits", splits=2), KEYPOINTS)
    first = QuickTrainer(failing=("fast-split1",))
    results, failures = run_study(rows, [tmp_path], "abc", tmp_path / "s", trainer=first, jobs=2)
    assert len(results) == 3
    assert failures == ["fast-split1: the training ended with status 1"]
    second = QuickTrainer()
    results, failures = run_study(rows, [tmp_path], "abc", tmp_path / "s", trainer=second)
    assert second.trained == ["fast-split1"]
    assert [result.row for result in results] == rows
    assert not failures


def test_rows_of_another_study_or_of_other_data_are_not_mixed_in(tmp_path: Path) -> None:
    rows = plan_rows(study("splits", splits=1), KEYPOINTS)
    run_study(rows, [tmp_path], "abc", tmp_path / "s", trainer=QuickTrainer())
    with pytest.raises(InvalidConfig, match="other labelled data"):
        run_study(rows, [tmp_path], "def", tmp_path / "s", trainer=QuickTrainer())
    longer = StudySettings(kind="splits", splits=1, base=msgspec.structs.replace(BASE, epochs=3))
    with pytest.raises(InvalidConfig, match="other settings"):
        run_study(
            plan_rows(longer, KEYPOINTS), [tmp_path], "abc", tmp_path / "s", trainer=QuickTrainer()
        )
    (tmp_path / "s" / "rows" / "tiny-split1.json").write_text("{")
    with pytest.raises(InvalidConfig, match="is damaged"):
        run_study(rows, [tmp_path], "abc", tmp_path / "s", trainer=QuickTrainer())


def test_the_table_states_mean_and_standard_error_over_the_splits() -> None:
    rows = plan_rows(study("size", shares=(0.5, 0.8), splits=3), KEYPOINTS)
    records = summarize_rows([result_of(row) for row in rows])
    assert [(one["series"], one["x"], one["runs"]) for one in records] == [
        ("fast", 0.5, 3),
        ("fast", 0.8, 3),
    ]
    assert records[0]["test_error_px"] == pytest.approx(2.5)  # of 1.5, 2.5 and 3.5
    assert records[0]["test_error_px_sem"] == pytest.approx(1 / 3**0.5)
    table = markdown_table("size", [result_of(row) for row in rows])
    assert "| fast | 0.5 | 3 | 8 | 2 | 1.25 ± 0.29 | 2.50 ± 0.58 |" in table
    assert "2.50 ± 0.58" in text_table(table)


def test_body_parts_together_are_told_beside_each_alone() -> None:
    rows = plan_rows(study("subsets", splits=2), KEYPOINTS)
    records = keypoint_records([result_of(row) for row in rows])
    assert {(one["keypoint"], one["series"]) for one in records} == {
        ("leftear", "together"),
        ("rightear", "together"),
        ("leftear", "leftear"),
        ("rightear", "rightear"),
    }
    assert all(one["test_error_px"] == 1.5 for one in records)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_table_and_a_picture(kind: StudyKind, tmp_path: Path) -> None:
    results = [result_of(row) for row in plan_rows(study(kind, splits=2), KEYPOINTS)]
    assert markdown_table(kind, results).count("|") > 20
    write_csv(tmp_path / "rows.csv", [run_record(one) for one in results])
    with (tmp_path / "rows.csv").open() as file:
        assert [row["key"] for row in csv.DictReader(file)] == [one.row.key for one in results]
    draw_study(kind, results, tmp_path / "study.png", human_px=2.69)
    assert (tmp_path / "study.png").stat().st_size > 5000


def test_a_row_is_trained_and_measured_and_an_interrupted_one_goes_on(
    project: Path, tmp_path: Path
) -> None:
    (row,) = plan_rows(study("splits", presets=("tiny",), splits=1), KEYPOINTS)
    data = read_projects([project])
    job = Job[PoseChoices](
        row=row, data=(str(project),), data_sha256=data.sha256, threads=1, keep=True
    )
    folder = tmp_path / "runs" / row.key
    result = train_row(PoseRows(), job, folder)
    assert result.frames == {"training": 10, "validation": 0, "test": 2}
    assert set(result.figures) == {"training", "test"}
    assert result.parameters > 1_000_000
    assert [point["step"] for point in result.curve] == [2, 4]
    assert result.seconds is not None
    again = train_row(PoseRows(), job, folder)  # as after a kill behind the last epoch
    assert again.seconds is None
    assert again.figures == result.figures

    other = msgspec.structs.replace(job, data_sha256="other", keep=False)
    anew = train_row(PoseRows(), other, folder)
    assert anew.seconds is not None
    assert not (folder / "checkpoints").exists()


def test_a_process_trains_a_row_and_tells_why_another_failed(project: Path, tmp_path: Path) -> None:
    rows = plan_rows(study("splits", presets=("tiny",), splits=1), KEYPOINTS)
    rows += plan_rows(study("subsets", presets=("tiny",), splits=1), KEYPOINTS)[1:2]
    broken = msgspec.structs.replace(
        rows[1], choices=msgspec.structs.replace(rows[1].choices, keypoints=("nose",))
    )
    results, failures = run_study(
        [rows[0], broken],
        [project],
        "abc",
        tmp_path / "s",
        trainer=ProcessTrainer("training.pose.study.worker", PoseResult),
        jobs=2,
        threads=1,
    )
    assert [result.row.key for result in results] == ["tiny-split1"]
    assert len(failures) == 1
    assert "nose is not labelled" in failures[0]
    assert not (tmp_path / "s" / "runs" / "tiny-split1" / "checkpoints").exists()


def test_stopping_ends_the_processes(project: Path, tmp_path: Path) -> None:
    long = msgspec.structs.replace(BASE, epochs=100_000)
    (row,) = plan_rows(
        StudySettings(kind="splits", presets=("tiny",), splits=1, base=long), KEYPOINTS
    )
    trainer = ProcessTrainer("training.pose.study.worker", PoseResult)
    job = Job[PoseChoices](row=row, data=(str(project),), data_sha256="abc", threads=1)
    errors: list[RowFailed] = []

    def train() -> None:
        try:
            trainer.train(job, tmp_path / "runs" / row.key)
        except RowFailed as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    deadline = time.monotonic() + 90
    while not (tmp_path / "runs" / row.key / "metrics.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    trainer.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert "status 143" in str(errors[0])

from pathlib import Path
from types import SimpleNamespace

import pytest

from training.figures import MetricsTable, draw_curves, read_metrics

pytestmark = pytest.mark.needs_train


def trainer(epoch: int, **figures: float) -> SimpleNamespace:
    return SimpleNamespace(
        current_epoch=epoch, max_epochs=9, callback_metrics=figures, is_global_zero=True
    )


def test_epochs_that_are_repeated_after_a_kill_stand_once_in_the_table(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", tmp_path / "curves.png")
    for epoch in range(3):
        table.on_train_epoch_end(trainer(epoch, loss=1.0 / (1 + epoch), heldout_error_px=5.0), None)
    table.on_train_start(trainer(2), None)  # the checkpoint of epoch 2 was not written yet
    table.on_train_epoch_end(trainer(2, loss=0.25, heldout_error_px=4.0), None)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[2]["loss"] == 0.25


def test_a_figure_that_comes_late_leaves_earlier_rows_without_it(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", tmp_path / "curves.png")
    table.on_train_epoch_end(trainer(0, loss=1.0), None)
    table.on_train_epoch_end(trainer(1, loss=0.5, heldout_error_px=3.0), None)
    assert [dict(row) for row in read_metrics(tmp_path / "metrics.csv")] == [
        {"epoch": 0, "loss": 1.0},
        {"epoch": 1, "loss": 0.5, "heldout_error_px": 3.0},
    ]
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", tmp_path / "curves.png")
    other = trainer(0, loss=1.0)
    other.is_global_zero = False
    table.on_train_start(other, None)
    table.on_train_epoch_end(other, None)
    assert not list(tmp_path.iterdir())

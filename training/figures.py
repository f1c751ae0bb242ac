"""The figures of a training: a row an epoch in a table, and their curves as a picture."""

import csv
import logging
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.results.atomic import replacing

log = logging.getLogger("ethostream.training")


class MetricsTable(Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Appends the figures of each epoch to a CSV, logs them as one line and draws their curves.

    Args:
        table: the CSV.
        picture: the PNG of the curves.
    """

    def __init__(self, table: Path, picture: Path) -> None:
        self._table = table
        self._picture = picture

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop rows of epochs that a resumed training repeats: it was stopped before saving."""
        if not trainer.is_global_zero or not self._table.is_file():
            return
        rows = read_metrics(self._table)
        kept = [row for row in rows if row["epoch"] < trainer.current_epoch]
        if len(kept) < len(rows):
            self._write(kept)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row; validation of the epoch has run before."""
        if not trainer.is_global_zero:
            return
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        for name, value in sorted(trainer.callback_metrics.items()):
            row[name] = round(float(value), 6)
        rows = read_metrics(self._table) if self._table.is_file() else []
        self._write([*rows, row])
        if trainer.current_epoch + 1 in (1, trainer.max_epochs) or not row["epoch"] % 5:
            draw_curves(self._table, self._picture)
        log.info("%s", "  ".join(f"{name} {value:g}" for name, value in row.items()))

    def _write(self, rows: list[dict[str, float]]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with (
            replacing(self._table) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            for row in rows:
                writer.writerow({**row, "epoch": int(row["epoch"])})


def read_metrics(table: Path) -> list[dict[str, float]]:
    """Read a metrics.csv; figures that an epoch lacks are left out of its row."""
    with table.open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def draw_curves(table: Path, picture: Path) -> None:
    """Draw each figure of a metrics.csv over the epochs; figures of one unit share a plot."""
    rows = read_metrics(table)
    names = [name for name in dict.fromkeys(k for row in rows for k in row) if name != "epoch"]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_unit(name), []).append(name)
    figure = Figure(figsize=(6, 2.6 * max(1, len(groups))), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (unit, members) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(len(groups), 1, place)
        for name in members:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(
                *zip(*points, strict=True), marker="." if len(points) < 30 else "", label=name
            )
        axes.set_ylabel(unit)
        axes.set_xlabel("epoch")
        if unit in ("loss", "error px") and all(
            row.get(one, 1) > 0 for row in rows for one in members
        ):
            axes.set_yscale("log")
        axes.legend(frameon=False)
    figure.savefig(picture, dpi=110)


def _unit(name: str) -> str:
    for ending, unit in (("loss", "loss"), ("_px", "error px")):
        if name.endswith(ending):
            return unit
    return "score"

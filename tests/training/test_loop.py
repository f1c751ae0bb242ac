import csv
import importlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightning import LightningModule
from torch.utils.data import DataLoader, TensorDataset

from service.errors import InvalidConfig, NotFound
from training.loop import LoopSettings, fit
from training.runs import Run, create_run, open_run

pytestmark = pytest.mark.needs_train


class Line(LightningModule):
    """Fits y = 3x; its held-out error can be made worse on purpose, or given for each epoch."""

    def __init__(self, worse_from_epoch: int = 1000, errors: Sequence[float] = ()) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.worse_from_epoch = worse_from_epoch
        self.errors = errors
        self.epochs_seen: list[int] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = (self.layer(batch[0]) - 3 * batch[0]).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self) -> None:
        self.epochs_seen.append(self.current_epoch)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        worse = 100.0 * max(0, self.current_epoch - self.worse_from_epoch + 1)
        error = (self.layer(batch[0]) - 3 * batch[0]).abs().mean() + worse
        self.log("error", self.errors[self.current_epoch] if self.errors else error)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def loader() -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(torch.linspace(-1, 1, 16)[:, None]), batch_size=4)


def train(run: Run, module: Line, *, resume: bool = False, **settings: int) -> Path:
    return fit(
        module,
        loader(),
        loader(),
        settings=LoopSettings(precision="32-true", **settings),
        run=run,
        monitor="error",
        mode="min",
        resume=resume,
    )


def read_metrics(run: Run) -> list[dict[str, str]]:
    with run.metrics_table.open() as file:
        return list(csv.DictReader(file))


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, parts = (create_run(tmp_path, name, "pose", {}) for name in ("whole", "parts"))
    torch.manual_seed(0)
    first = Line()
    start = {name: value.clone() for name, value in first.state_dict().items()}
    train(whole, first, max_epochs=4)

    second = Line()
    second.load_state_dict(start)
    train(parts, second, max_epochs=2)
    third = Line()
    train(parts, third, max_epochs=4, resume=True)

    assert third.epochs_seen == [2, 3]
    for name, value in first.state_dict().items():
        assert torch.allclose(value, third.state_dict()[name])
    assert read_metrics(whole) == read_metrics(parts)
    assert [row["epoch"] for row in read_metrics(parts)] == ["0", "1", "2", "3"]


def test_the_best_epoch_is_kept_and_training_ends_when_it_no_longer_improves(
    tmp_path: Path,
) -> None:
    run = create_run(tmp_path, "run", "pose", {})
    best = train(run, Line(worse_from_epoch=2), max_epochs=20, patience_epochs=3)
    assert torch.load(best, weights_only=True)["epoch"] == 1
    assert torch.load(run.last_checkpoint, weights_only=True)["epoch"] == 4
    assert len(read_metrics(run)) == 5


@pytest.mark.parametrize("moved", [False, True])
def test_the_best_epoch_outlives_a_stop_right_after_it(tmp_path: Path, moved: bool) -> None:
    run = create_run(tmp_path, "run", "pose", {})
    errors = (3.0, 1.0, 2.0, 2.0)
    train(run, Line(errors=errors), max_epochs=2)
    if moved:
        run = open_run(run.directory.rename(tmp_path / "elsewhere"))
    resumed = Line(errors=errors)
    best = train(run, resumed, max_epochs=4, resume=True)
    assert resumed.epochs_seen == [2, 3]
    assert torch.load(best, weights_only=True)["epoch"] == 1
    assert best.parent.parent == run.directory


IN_PARTS = """
import lightning, torch


class InParts(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2))

    def training_step(self, batch, batch_idx):
        return (self.layers[self.current_epoch](batch[0]) - 3 * batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
"""


@pytest.mark.full
def test_several_processes_train_a_network_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_parts.py").write_text(IN_PARTS)
    monkeypatch.syspath_prepend(tmp_path)  # the processes import what they train
    module = importlib.import_module("in_parts").InParts()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = create_run(tmp_path, "run", "pose", {})
    settings = LoopSettings(precision="32-true", max_epochs=2, devices=2)
    fit(module, loader(), None, settings=settings, run=run, monitor="", mode="min", resume=False)
    after = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    assert not any(torch.equal(value, after[name]) for name, value in before.items())


def test_resuming_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    run = create_run(tmp_path, "run", "pose", {})
    with pytest.raises(NotFound, match="nothing can be resumed"):
        train(run, Line(), max_epochs=1, resume=True)


def test_settings_outside_their_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="max_epochs is 0"):
        LoopSettings(max_epochs=0)

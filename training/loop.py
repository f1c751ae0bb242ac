"""The training loop of both tasks: epochs, checkpoints, early stop, progress and figures."""

import csv
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from service.errors import InvalidConfig, NotFound
from training.runs import Run

Precision = Literal["bf16-mixed", "32-true"]

log = logging.getLogger("ethostream.training")


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how a network is trained, whatever the task."""

    max_epochs: int
    patience_epochs: int | None = None
    """Epochs without a better held-out metric after which training ends; None trains all."""
    batch_size: int = 16
    """Samples per step; the task builds its loaders with it."""
    seed: int = 1
    precision: Precision = "bf16-mixed"
    threads: int | None = None
    """Processor threads of torch; None leaves its own choice."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_epochs < 1 or self.batch_size < 1:
            raise InvalidConfig(
                f"max_epochs is {self.max_epochs} and batch_size {self.batch_size}; "
                "both must be at least 1"
            )


def fit(
    module: LightningModule,
    train_loader: Iterable[object],
    validation_loader: Iterable[object],
    *,
    settings: LoopSettings,
    run: Run,
    monitor: str,
    mode: Literal["min", "max"],
    resume: bool,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train `module` and return the path of its best checkpoint.

    Args:
        module: the task: its steps, losses, metrics and optimizer.
        train_loader: batches of an epoch.
        validation_loader: batches of the held-out samples.
        settings: length, precision, seed and threads.
        run: where checkpoints and figures go.
        monitor: name of the held-out metric, as the module logs it.
        mode: whether a lower (min) or a higher (max) value of it is better.
        resume: continue from the run's last checkpoint, with optimizer and epoch.
        callbacks: what the task adds.

    Raises:
        NotFound: `resume` is set and the run has no checkpoint yet.
    """
    if resume and not run.last_checkpoint.is_file():
        raise NotFound(
            f"{run.last_checkpoint} does not exist, so nothing can be resumed; train anew"
        )
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with _expected_warnings_silent():
        seed_everything(settings.seed, workers=True, verbose=False)
        trainer = Trainer(
            max_epochs=settings.max_epochs,
            precision=settings.precision,
            accelerator="auto",
            devices=1,
            default_root_dir=run.directory,
            logger=TensorBoardLogger(run.directory, name="tensorboard", version=""),
            callbacks=[*_callbacks(settings, run, monitor, mode), *callbacks],
            enable_progress_bar=sys.stdout.isatty(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
        )
        trainer.fit(
            module,
            train_loader,
            validation_loader,
            ckpt_path=run.last_checkpoint if resume else None,
        )
    return run.best_checkpoint()


class MetricsTable(Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Appends the figures of each epoch to the run's metrics.csv and logs them as one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row; validation of the epoch has run before."""
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        for name, value in sorted(trainer.callback_metrics.items()):
            row[name] = round(float(value), 6)
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        log.info("%s", "  ".join(f"{name} {value:g}" for name, value in row.items()))


def _callbacks(
    settings: LoopSettings, run: Run, monitor: str, mode: Literal["min", "max"]
) -> Iterator[Callback]:
    yield MetricsTable(run.metrics_table)
    # Two savers: the best one needs the metric, the last one must be there after every epoch.
    yield ModelCheckpoint(
        run.checkpoints, "best", monitor=monitor, mode=mode, enable_version_counter=False
    )
    yield ModelCheckpoint(run.checkpoints, "last", enable_version_counter=False)
    if settings.patience_epochs is not None:
        yield EarlyStopping(monitor, patience=settings.patience_epochs, mode=mode)
    if sys.stdout.isatty():
        yield RichProgressBar()


@contextmanager
def _expected_warnings_silent() -> Iterator[None]:
    """Lightning warns of what is chosen here: no loader processes, an existing run folder."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield

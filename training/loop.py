"""The training loop of both tasks: epochs, checkpoints, early stop, progress and figures."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from service.errors import InvalidConfig, NotFound
from training.figures import MetricsTable
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
    workers: int = 0
    """Processes that load samples; 0 loads them where it trains."""
    devices: int | Literal["auto"] = "auto"
    """GPUs, or processes where there is none; auto takes all GPUs, or one process."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_epochs < 1 or self.batch_size < 1:
            raise InvalidConfig(
                f"max_epochs is {self.max_epochs} and batch_size {self.batch_size}; "
                "both must be at least 1"
            )
        if self.workers < 0 or (self.devices != "auto" and self.devices < 1):
            raise InvalidConfig(
                f"workers is {self.workers} and devices {self.devices}; give 0 or more workers "
                "and at least 1 device, or auto"
            )


def fit(
    module: LightningModule,
    train_loader: Iterable[object],
    validation_loader: Iterable[object] | None,
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
        validation_loader: batches of the held-out samples; None takes the last epoch as best.
        settings: length, precision, seed and threads.
        run: where checkpoints and figures go.
        monitor: name of the held-out metric, as the module logs it.
        mode: whether a lower (min) or a higher (max) value of it is better.
        resume: continue from the run's last checkpoint, with optimizer and epoch.
        callbacks: what the task adds.

    Raises:
        NotFound: `resume` is set and the run has no checkpoint yet.
        SystemExit: the training was told to stop (status 143, or 1 after Ctrl-C); it goes on
            with `resume` from the last whole epoch.
    """
    if resume and not run.last_checkpoint.is_file():
        raise NotFound(
            f"{run.last_checkpoint} does not exist, so nothing can be resumed; train anew"
        )
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # Its import set its own level; what it tells of devices and precision is in the run.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with _expected_warnings_silent():
        seed_everything(settings.seed, workers=True, verbose=False)
        trainer = Trainer(
            max_epochs=settings.max_epochs,
            precision=settings.precision,
            accelerator="auto",
            devices=_devices(settings),
            strategy=_strategy(settings),
            use_distributed_sampler=False,
            default_root_dir=run.directory,
            logger=TensorBoardLogger(run.directory, name="tensorboard", version=""),
            callbacks=[
                *_callbacks(settings, run, None if validation_loader is None else monitor, mode),
                *callbacks,
            ],
            enable_progress_bar=sys.stdout.isatty(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
        )
        try:
            trainer.fit(
                module,
                train_loader,
                validation_loader,
                ckpt_path=run.last_checkpoint if resume else None,
            )
        except SIGTERMException:
            log.warning("told to stop; continue with --resume --out %s", run.directory)
            raise SystemExit(128 + signal.SIGTERM) from None
    return run.best_checkpoint()


class _Saver(ModelCheckpoint):  # type: ignore[misc]  # Lightning is untyped here
    """Writes one checkpoint of a run, in whose folder it goes on where that was moved."""

    def __init__(self, run: Run, name: str, **best: str) -> None:
        super().__init__(run.checkpoints, name, enable_version_counter=False, **best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was saved; Lightning alone forgets the best score with the folder."""
        super().load_state_dict(_relocate(state_dict, Path(self.dirpath)))


def _relocate(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    def move(path: str) -> str:
        return path and str(folder / Path(path).name)

    paths = ("best_model_path", "kth_best_model_path", "last_model_path")
    return {
        **state,
        "dirpath": str(folder),
        "best_k_models": {move(path): score for path, score in state["best_k_models"].items()},
        **{name: move(state[name]) for name in paths},
    }


def _callbacks(
    settings: LoopSettings, run: Run, monitor: str | None, mode: Literal["min", "max"]
) -> Iterator[Callback]:
    yield MetricsTable(run.metrics_table, run.curves_picture)
    if monitor is not None:
        yield _Saver(run, "best", monitor=monitor, mode=mode)
        if settings.patience_epochs is not None:
            yield EarlyStopping(monitor, patience=settings.patience_epochs, mode=mode)
    # After the best one, whose score it stores: a resumed training is to know what it has to beat.
    yield _Saver(run, "last")
    if sys.stdout.isatty():
        yield RichProgressBar()


def _devices(settings: LoopSettings) -> int | str:
    if settings.devices == "auto" and not torch.cuda.is_available():
        return 1  # auto would start one process per core, which share the cores anyway
    return settings.devices


def _strategy(settings: LoopSettings) -> str:
    several = torch.cuda.device_count() if settings.devices == "auto" else settings.devices
    # Spawned: processes that begin at this command's start would make the run's folder again.
    # Curricula leave parts of a network out of an epoch.
    return "ddp_spawn_find_unused_parameters_true" if several > 1 else "auto"


@contextmanager
def _expected_warnings_silent() -> Iterator[None]:
    """Lightning warns of what is chosen here, such as networks kept in evaluation mode."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")
        warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def load_best(run: Run, network: torch.nn.Module) -> None:
    """Load the best weights of a run into its task's network; a checkpoint holds the whole task.

    Raises:
        NotFound: the run has no checkpoint.
    """
    stored = torch.load(run.best_checkpoint(), map_location="cpu", weights_only=True)
    prefix = "network."
    network.load_state_dict(
        {
            name.removeprefix(prefix): value
            for name, value in stored["state_dict"].items()
            if name.startswith(prefix)
        }
    )

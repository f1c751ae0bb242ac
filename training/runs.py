"""A run: one training on disk, with all that is needed to repeat, resume, evaluate and export it.

runs/<name>/
  config.json     task and the settings of the training
  versions.json   Python, libraries and the commit of this code
  split.json      which samples trained and which were held out
  metrics.csv     one row per epoch
  curves.png      the same as curves
  evaluation.json errors of the trained network on each part of the split
  checkpoints/    last.ckpt (to resume) and best.ckpt, where a held-out metric chooses
  tensorboard/    the same figures for TensorBoard
"""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from service.bundle import Task
from service.errors import InvalidConfig, NotFound

RunTask = Task | Literal["backbone"]
_T = TypeVar("_T")
SplitPart = Literal["training", "validation", "test"]
_LIBRARIES = ("torch", "torchvision", "lightning", "numpy", "opencv-python-headless")


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of split.json: names of samples (frames, recordings) by their use."""

    rule: str
    """How the split was drawn, as the card tells it."""
    seed: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    """Choose the best epoch."""
    test: tuple[str, ...]
    """Seen by neither; the card's figures are theirs."""

    @property
    def is_unknown(self) -> bool:
        """Whether no sample is named: the model was imported, and all data is taken for new."""
        return not (self.training or self.validation or self.test)

    @property
    def least_known(self) -> SplitPart:
        """The part on which a model says most of new samples, of those that hold any."""
        return "test" if self.test else "validation" if self.validation else "training"


class _RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    task: RunTask
    config: dict[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder."""

    directory: Path
    task: RunTask
    config: dict[str, object]
    """The task's own settings as plain values; the task converts them to its struct."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.directory.name

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.directory / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Where an interrupted training continues."""
        return self.checkpoints / "last.ckpt"

    @property
    def metrics_table(self) -> Path:
        """CSV with one row per epoch."""
        return self.directory / "metrics.csv"

    @property
    def curves_picture(self) -> Path:
        """PNG of the figures over the epochs."""
        return self.directory / "curves.png"

    @property
    def evaluation(self) -> Path:
        """JSON with the figures of each part of the split, once the training is done."""
        return self.directory / "evaluation.json"

    def best_checkpoint(self) -> Path:
        """Return the checkpoint with the best held-out metric, or the last where none chooses.

        Raises:
            NotFound: the training has not finished an epoch yet.
        """
        path = self.checkpoints / "best.ckpt"
        path = path if path.is_file() else self.last_checkpoint
        if not path.is_file():
            raise NotFound(
                f"run {self.directory} has no checkpoint; train it for one epoch at least (a study "
                "deletes the checkpoints of its runs unless it is given --keep)"
            )
        return path

    def settings(self, task: RunTask, kind: type[_T]) -> _T:
        """Return the settings as the struct of the task.

        Raises:
            InvalidConfig: the run is of another task, or was made by another version.
        """
        if self.task != task:
            raise InvalidConfig(f"run {self.directory} is of task {self.task}; name a {task} run")
        try:
            return msgspec.convert(self.config, kind)
        except msgspec.ValidationError as error:
            raise InvalidConfig(
                f"{self.directory / 'config.json'} does not hold {task} settings of this version: "
                f"{error}; train anew"
            ) from error

    def write_split(self, split: Split) -> None:
        """Store which samples are held out."""
        _write_json(self.directory / "split.json", split)

    def split(self) -> Split:
        """Return which samples are held out.

        Raises:
            NotFound: the run has no split.json.
            InvalidConfig: the file is malformed.
        """
        return _read_json(self.directory / "split.json", Split)

    def versions(self) -> dict[str, str]:
        """Return the versions that the run was made with; `commit` is that of this code."""
        return _read_json(self.directory / "versions.json", dict[str, str])


def create_run(root: Path, name: str, task: RunTask, config: dict[str, object]) -> Run:
    """Make the folder `root`/`name` of a new run.

    Raises:
        InvalidConfig: a run of that name exists, or `name` is not a plain folder name.
    """
    if not name or Path(name).name != name:
        raise InvalidConfig(f"{name!r} is not a run name; give one without slashes")
    directory = root / name
    if directory.exists():
        raise InvalidConfig(
            f"run {directory} exists; give another name, or continue it with --resume"
        )
    (directory / "checkpoints").mkdir(parents=True)
    _write_json(directory / "config.json", _RunConfig(task=task, config=config))
    _write_json(directory / "versions.json", _versions())
    return Run(directory=directory, task=task, config=config)


def open_to_resume(directory: Path, data: Sequence[Path]) -> Run:
    """Open the run that --resume continues.

    Raises:
        InvalidConfig: data was named, too; a run goes on with its own.
        NotFound: the folder holds no run.
    """
    if data:
        raise InvalidConfig(
            f"--resume continues {directory} with its own data; leave out {data[0]}"
        )
    return open_run(directory)


def open_run(path: Path) -> Run:
    """Read a run's folder.

    Raises:
        NotFound: `path` is not the folder of a run.
        InvalidConfig: its config.json is malformed.
    """
    stored = _read_json(path / "config.json", _RunConfig)
    return Run(directory=path, task=stored.task, config=stored.config)


def code_commit() -> str:
    """Return the git commit of this code, with `-dirty` where files differ; else `unknown`."""
    root = Path(__file__).resolve().parents[1]
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"commit": code_commit(), "python": platform.python_version(), **libraries}


def _write_json(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def _read_json(path: Path, kind: type[_T]) -> _T:
    if not path.is_file():
        raise NotFound(f"{path} does not exist; name the folder of a training run")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidConfig(f"{path} is malformed: {error}; restore or delete the run") from error

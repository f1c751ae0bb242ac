"""Trains and measures one row of a study, whatever its task, in a process of its own."""

import logging
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from training.runs import Run, open_run
from training.study.rows import Choices, Job, RowResult


@dataclass(frozen=True, slots=True)
class Measured:
    """What is stored of a trained row; see `RowResult`."""

    frames: dict[str, int]
    parameters: int
    figures: dict[str, dict[str, object]]
    curve: list[dict[str, float]] = field(default_factory=list)


class RowTask(Protocol[Choices]):
    """How the rows of one task are trained and measured."""

    @property
    def job_type(self) -> type[Job[Choices]]:
        """What its workers are told."""
        ...

    def start(self, job: Job[Choices], folder: Path) -> Run:
        """Make the run of a row in `folder`."""
        ...

    def is_begun(self, run: Run) -> bool:
        """Whether an interrupted run has something to go on from."""
        ...

    def train(self, run: Run, job: Job[Choices], *, resume: bool) -> None:
        """Train to the end."""
        ...

    def measure(self, run: Run, job: Job[Choices]) -> Measured:
        """Measure the trained networks."""
        ...


def train_row(task: RowTask[Choices], job: Job[Choices], folder: Path) -> RowResult[Choices]:
    """Train and measure one row; a training of the same job that was interrupted goes on.

    Args:
        task: how.
        job: the row.
        folder: of the run; `folder`.job.json beside it tells what the run there is of.

    Raises:
        As the functions of `task`.
    """
    run = _interrupted(task, job, folder)
    resumed, began_s = run is not None, time.perf_counter()
    if run is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _note(folder).write_bytes(msgspec.json.encode(job))
        run = task.start(job, folder)
    task.train(run, job, resume=resumed)
    seconds = None if resumed else time.perf_counter() - began_s
    found = task.measure(run, job)
    result = RowResult(
        row=job.row,
        data_sha256=job.data_sha256,
        frames=found.frames,
        parameters=found.parameters,
        seconds=seconds,
        commit=run.versions()["commit"],
        figures=found.figures,
        curve=found.curve,
    )
    if not job.keep:
        for checkpoints in list(folder.rglob("checkpoints")):
            shutil.rmtree(checkpoints)
    return result


def work(task: RowTask[Choices]) -> None:
    """Do what `training.study.drive.ProcessTrainer` told: job file, run folder, answer file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    job_path, run_folder, result_path = (Path(argument) for argument in sys.argv[1:])
    job = msgspec.json.decode(job_path.read_bytes(), type=task.job_type)
    done = train_row(task, job, run_folder)
    result_path.write_bytes(msgspec.json.encode(done))


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.job.json")


def _interrupted(task: RowTask[Choices], job: Job[Choices], folder: Path) -> Run | None:
    """The run in the folder, where it is of the same job and has something to go on from."""
    note = _note(folder)
    if not note.is_file() or not (folder / "config.json").is_file():
        return None
    try:
        noted = msgspec.json.decode(note.read_bytes(), type=task.job_type)
    except msgspec.MsgspecError:
        return None
    same = (noted.row, noted.data_sha256) == (job.row, job.data_sha256)
    run = open_run(folder)
    return run if same and task.is_begun(run) else None

"""Trains one row of a study; as a program, the row of a job file in a process of its own."""

import shutil
import sys
import time
from pathlib import Path

import msgspec

from training.figures import read_metrics
from training.pose.evaluate import evaluate_run
from training.pose.launch import start_pose_run
from training.pose.study.settings import StudyRow
from training.pose.train import train_pose
from training.pose.trained import read_network, read_settings
from training.runs import Run, open_run


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker is told."""

    row: StudyRow
    data: tuple[str, ...]
    data_sha256: str
    threads: int | None = None
    """Processor threads; no part of what the row is."""
    keep: bool = False
    """Keep the checkpoints."""


class RowResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row that is done; stored as rows/<key>.json."""

    row: StudyRow
    data_sha256: str
    frames: dict[str, int]
    """Number of frames by part of the split."""
    parameters: int
    """Of the network."""
    seconds: float | None
    """That it took; None where it was interrupted."""
    commit: str
    figures: dict[str, dict[str, object]]
    """By part of the split, as `training.pose.evaluate.evaluate_run` returns them."""
    curve: list[dict[str, float]]
    """metrics.csv, with `step`, the number of optimizer steps at the end of each epoch."""


def train_row(job: Job, folder: Path) -> RowResult:
    """Train and measure one row; a training of the same job that was interrupted goes on.

    Args:
        job: the row.
        folder: of the run; `folder`.json beside it tells what the run there is of.

    Raises:
        As `start_pose_run`, `train_pose` and `evaluate_run`.
    """
    run = _interrupted(job, folder)
    resumed, began_s = run is not None, time.perf_counter()
    if run is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _note(folder).write_bytes(msgspec.json.encode(job))
        choices = msgspec.structs.replace(job.row.choices, threads=job.threads)
        run = start_pose_run([Path(path) for path in job.data], folder, choices)
    train_pose(run, resume=resumed)
    settings, split = read_settings(run), run.split()
    result = RowResult(
        row=job.row,
        data_sha256=job.data_sha256,
        frames={
            "training": len(split.training),
            "validation": len(split.validation),
            "test": len(split.test),
        },
        parameters=sum(one.numel() for one in read_network(run).parameters()),
        seconds=None if resumed else time.perf_counter() - began_s,
        commit=run.versions()["commit"],
        figures=evaluate_run(run),
        curve=[
            {"step": (row["epoch"] + 1) * settings.steps_per_epoch, **row}
            for row in read_metrics(run.metrics_table)
        ],
    )
    if not job.keep:
        shutil.rmtree(run.checkpoints)
    return result


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.job.json")


def _interrupted(job: Job, folder: Path) -> Run | None:
    """The run in the folder, where it is of the same job and has a checkpoint to go on from."""
    note = _note(folder)
    if not note.is_file() or not (folder / "config.json").is_file():
        return None
    try:
        noted = msgspec.json.decode(note.read_bytes(), type=Job)
    except msgspec.MsgspecError:
        return None
    same = (noted.row, noted.data_sha256) == (job.row, job.data_sha256)
    run = open_run(folder)
    return run if same and run.last_checkpoint.is_file() else None


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    job_path, run_folder, result_path = (Path(argument) for argument in sys.argv[1:])
    done = train_row(msgspec.json.decode(job_path.read_bytes(), type=Job), run_folder)
    result_path.write_bytes(msgspec.json.encode(done))

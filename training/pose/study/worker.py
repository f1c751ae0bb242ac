"""Trains and measures the rows of pose studies; as a program, one row in a process of its own."""

from pathlib import Path

import msgspec

from training.figures import read_metrics
from training.pose.evaluate import evaluate_run
from training.pose.launch import start_pose_run
from training.pose.settings import PoseChoices
from training.pose.train import train_pose
from training.pose.trained import read_network, read_settings
from training.runs import Run
from training.study.rows import Job
from training.study.worker import Measured, work


class PoseRows:
    """See `training.study.worker.RowTask`."""

    job_type = Job[PoseChoices]

    def start(self, job: Job[PoseChoices], folder: Path) -> Run:
        """See `RowTask.start`."""
        choices = msgspec.structs.replace(job.row.choices, threads=job.threads)
        return start_pose_run([Path(path) for path in job.data], folder, choices)

    def is_begun(self, run: Run) -> bool:
        """See `RowTask.is_begun`."""
        return run.last_checkpoint.is_file()

    def train(self, run: Run, job: Job[PoseChoices], *, resume: bool) -> None:
        """See `RowTask.train`."""
        train_pose(run, resume=resume)

    def measure(self, run: Run, job: Job[PoseChoices]) -> Measured:
        """See `RowTask.measure`."""
        settings, split = read_settings(run), run.split()
        return Measured(
            frames={
                "training": len(split.training),
                "validation": len(split.validation),
                "test": len(split.test),
            },
            parameters=sum(one.numel() for one in read_network(run).parameters()),
            figures=evaluate_run(run),
            curve=[
                {"step": (row["epoch"] + 1) * settings.steps_per_epoch, **row}
                for row in read_metrics(run.metrics_table)
            ],
        )


if __name__ == "__main__":
    work(PoseRows())

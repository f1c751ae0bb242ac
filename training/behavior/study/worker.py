"""Trains and measures the rows of behavior studies; as a program, one row in its own process."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.behavior import present, probabilities
from service.bundle import BehaviorSpec
from training.behavior.decisions import label_counts
from training.behavior.evaluate import Prediction, predict
from training.behavior.figures import summarize
from training.behavior.stages import (
    Networks,
    read_decisions,
    read_networks,
    read_run_data,
    read_settings,
)
from training.behavior.study.settings import BehaviorChoices
from training.behavior.train import train_behavior
from training.behavior.trained import behavior_spec, torch_graphs, without_sequence
from training.data.behavior_frames import Footage, load_footage
from training.runs import Run, create_run
from training.study.rows import Job
from training.study.worker import Measured, work


class BehaviorRows:
    """See `training.study.worker.RowTask`."""

    job_type = Job[BehaviorChoices]

    def start(self, job: Job[BehaviorChoices], folder: Path) -> Run:
        """See `RowTask.start`."""
        settings = msgspec.structs.replace(
            job.row.choices.settings, data=job.data, threads=job.threads
        )
        return create_run(folder.parent, folder.name, "behavior", msgspec.to_builtins(settings))

    def is_begun(self, run: Run) -> bool:
        """See `RowTask.is_begun`; stages that have not begun are begun."""
        return True

    def train(self, run: Run, job: Job[BehaviorChoices], *, resume: bool) -> None:
        """See `RowTask.train`."""
        weights = job.row.choices.weights
        train_behavior(run, weights=Path(weights) if weights else None, resume=resume)

    def measure(self, run: Run, job: Job[BehaviorChoices]) -> Measured:
        """See `RowTask.measure`: `test`, and `features` without the sequence, if there is one."""
        settings, networks, split = read_settings(run), read_networks(run), run.split()
        project = read_run_data(settings, [Path(one) for one in settings.data])
        footage = load_footage(project.choose(split.test), settings.input)
        spec = behavior_spec(settings, read_decisions(run), networks)
        figures = {"test": measured(networks, footage, spec)}
        if networks.sequence is not None:
            validation = load_footage(project.choose(split.validation), settings.input)
            alone = without_sequence(networks, settings, spec, validation)
            figures["features"] = measured(networks, footage, alone)
        parts = {
            "training": split.training,
            "validation": split.validation,
            "test": split.test,
        }
        used = (networks.flow, networks.features, networks.sequence)
        return Measured(
            frames={
                name: label_counts(project.choose(chosen))[1] if chosen else 0
                for name, chosen in parts.items()
            },
            parameters=sum(
                one.numel()
                for network in used
                if network is not None
                for one in network.parameters()
            ),
            figures=figures,
        )


def measured(
    networks: Networks, footage: Sequence[Footage], spec: BehaviorSpec
) -> dict[str, object]:
    """Return the figures of `training.behavior.figures.as_dict`, and `clip_counts`."""
    found = [predict(torch_graphs(networks), one, spec) for one in footage]
    return summarize(found, spec) | {"clip_counts": clip_counts(found, spec).tolist()}


def clip_counts(found: Sequence[Prediction], spec: BehaviorSpec) -> NDArray[np.int64]:
    """Count what the F1 of any choice of clips is made of.

    Returns:
        (clips, C, 3): frames where a behavior is both labelled and predicted, only predicted, and
        only labelled. Clips without a frame that is labelled and answered are left out.
    """
    counts = []
    for one in found:
        known = np.asarray((one.labels >= 0).all(axis=1) & ~np.isnan(one.logits).any(axis=1))
        shown = present(probabilities(one.logits, exclusive=spec.exclusive), spec)
        for first, end in one.clips:
            inside = np.flatnonzero(known[first:end]) + first
            if len(inside):
                truth = np.asarray(one.labels[inside] == 1)
                claim = shown[inside]
                parts = (truth & claim, ~truth & claim, truth & ~claim)
                counts.append(np.stack([part.sum(axis=0) for part in parts], axis=1))
    return cast("NDArray[np.int64]", np.array(counts))


if __name__ == "__main__":
    work(BehaviorRows())

"""What a study of behavior asks, and the trainings (rows) that answer it.

Recordings are shared out to folds with about as much of every behavior in each. Split k tests on
fold k; the next fold chooses epochs and thresholds, or trains with the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from typing import Literal, get_args

import msgspec
import numpy as np

from service.errors import InvalidConfig
from training.behavior.settings import BehaviorTraining, PresetName
from training.data.behavior_labels import BehaviorProject
from training.data.behavior_splits import balanced_folds
from training.study.rows import StudyRow

StudyKind = Literal["splits", "size"]
KINDS: tuple[StudyKind, ...] = get_args(StudyKind)
TITLES: dict[StudyKind, str] = {
    "splits": "presets on the same splits",
    "size": "size of the training set",
}
_DRAWS = 2000


class BehaviorChoices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one training of a study is told."""

    settings: BehaviorTraining
    weights: str | None
    """File of backbone weights."""
    split: int
    """Number of the split, from 1."""


BehaviorRow = StudyRow[BehaviorChoices]


class StudySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One study."""

    kind: StudyKind
    folds: int = 5
    splits: int = 3
    """Folds that are the test of a row, one after another."""
    last_epoch: bool = False
    """No fold validates: all others train, and nothing is chosen."""
    shares: tuple[float, ...] = (0.1, 0.2, 0.4, 0.7, 1.0)
    """size: parts of the training recordings that train."""
    seed: int = 1
    """Of the folds and of the recordings that train."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.splits <= self.folds:
            raise InvalidConfig(
                f"{self.splits} splits of {self.folds} folds; give 1 to as many as folds"
            )
        if self.folds < (2 if self.last_epoch else 3):
            raise InvalidConfig(
                f"{self.folds} folds cannot train, test{'' if self.last_epoch else ', validate'}; "
                "give more"
            )
        wrong = [share for share in self.shares if not 0 < share <= 1]
        if wrong:
            raise InvalidConfig(f"a share is {wrong[0]:g}; give more than 0 and at most 1")


def plan_rows(
    settings: StudySettings,
    bases: Mapping[PresetName, tuple[BehaviorTraining, str | None]],
    project: BehaviorProject,
) -> list[BehaviorRow]:
    """Return the rows of a study, split by split.

    Args:
        settings: what is asked.
        bases: settings of each preset, of any split, and its file of backbone weights.
        project: the recordings.

    Raises:
        InvalidConfig: the recordings cannot be shared out, or two rows are the same.
    """
    folds = balanced_folds(project, settings.folds, seed=settings.seed)
    rows = [
        row
        for split in range(settings.splits)
        for preset, (base, weights) in bases.items()
        for row in _rows(settings, project, folds, split, preset, base, weights)
    ]
    keys = [row.key for row in rows]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise InvalidConfig(f"{twice[0]} would be trained twice; name each value once")
    return rows


def _rows(
    settings: StudySettings,
    project: BehaviorProject,
    folds: Sequence[Sequence[str]],
    split: int,
    preset: PresetName,
    base: BehaviorTraining,
    weights: str | None,
) -> Iterator[BehaviorRow]:
    validation = () if settings.last_epoch else folds[(split + 1) % len(folds)]
    held = {*folds[split], *validation}
    labelled = {name for fold in folds for name in fold}
    training = sorted(labelled - held)
    ordered = _in_order(training, project, settings, split)
    for share in settings.shares if settings.kind == "size" else (1.0,):
        count = max(1, round(share * len(training)))
        chosen = msgspec.structs.replace(
            base,
            validation=tuple(map(escape, validation)),
            test=tuple(map(escape, folds[split])),
            left_out=tuple(
                sorted({one.name for one in project.recordings} - held - set(ordered[:count]))
            ),
        )
        at = f"-{share:g}" if settings.kind == "size" else ""
        yield BehaviorRow(
            key=f"{preset}{at}-split{split + 1}",
            series=preset,
            x=share if settings.kind == "size" else None,
            choices=BehaviorChoices(settings=chosen, weights=weights, split=split + 1),
        )


def _in_order(
    training: Sequence[str], project: BehaviorProject, settings: StudySettings, split: int
) -> list[str]:
    """Training recordings by random; the fewest that are taken hold as many behaviors as can be."""
    fewest = max(1, round(min(settings.shares) * len(training)))
    has = np.array([(one.labels == 1).any(axis=0) for one in project.choose(training)])
    random = np.random.default_rng((settings.seed, split))
    best = max(
        (random.permutation(len(training)) for _ in range(_DRAWS)),
        key=lambda order: int(has[order[:fewest]].any(axis=0).sum()),
    )
    return [training[place] for place in best]

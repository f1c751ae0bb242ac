"""Draws which whole recordings train, which choose epochs and thresholds, and which are the test.

As in DeepEthogram (Bohnslav et al. 2021, eLife 10:e63377): whole recordings by random, drawn again
until every part has a labelled frame of every behavior. Only frames whose behaviors are all
labelled count, and recordings without one are in no part.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidConfig
from training.data.behavior_labels import NOT_LABELLED, BehaviorProject
from training.runs import Split

DEFAULT_SHARES = (0.6, 0.2, 0.2)
_DRAWS = 5000
_PARTS = ("training", "validation", "test")


def draw_split(
    project: BehaviorProject,
    *,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    seed: int = 1,
) -> Split:
    """Draw a split.

    Args:
        project: all recordings.
        shares: of the recordings that train, that validate and that are the test, in [0, 1] with
            the sum 1; each part with a share gets one recording at least.
        seed: the same one gives the same split.

    Raises:
        InvalidConfig: the shares are wrong, there are fewer labelled recordings than parts, or no
            split that was drawn has every behavior in every part.
    """
    return k_splits(project, 1, shares=shares, seed=seed)[0]


def k_splits(
    project: BehaviorProject,
    count: int,
    *,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    seed: int = 1,
) -> list[Split]:
    """Draw several splits for a study, the first of them that of `draw_split`.

    They differ where the recordings allow it.

    Raises:
        InvalidConfig: as `draw_split`, or `count` is below 1.
    """
    if count < 1:
        raise InvalidConfig(f"{count} splits are wanted; give 1 or more")
    names, frames = _labelled(project)
    positive = frames > 0
    sizes = _sizes(len(names), shares)
    _check_possible(project.behaviors, positive, sizes)
    random = np.random.default_rng(seed)
    splits: list[Split] = []
    for _ in range(count):
        drawn = _draw(project.behaviors, names, positive, sizes, random, splits)
        numbered = f", split {len(splits) + 1} of {count}" if count > 1 else ""
        rule = f"recordings by random ({':'.join(map(str, sizes))}), every behavior in every part"
        splits.append(_split(f"{rule}{numbered}", seed, drawn))
    return splits


def balanced_folds(
    project: BehaviorProject, count: int, *, seed: int = 1
) -> tuple[tuple[str, ...], ...]:
    """Share out whole recordings so that each fold holds about as much of every behavior.

    Of many random ways the one is taken whose shares of the labelled frames are furthest from
    0 and nearest to equal, by the mean distance of their logarithms.

    Args:
        project: all recordings; those without a labelled frame are in no fold.
        count: of the folds, 2 or more.
        seed: of the draws.

    Returns:
        The names in each fold, sorted.

    Raises:
        InvalidConfig: there are fewer recordings than folds, or a behavior is in fewer.
    """
    if count < 2:
        raise InvalidConfig(f"{count} folds are wanted; give 2 or more")
    names, frames = _labelled(project)
    if len(names) < count:
        raise InvalidConfig(
            f"{len(names)} labelled recordings cannot be shared out to {count} folds; label "
            f"{count} or more, or take fewer folds"
        )
    _check_possible(project.behaviors, frames > 0, [1] * count)
    random = np.random.default_rng(seed)
    best: tuple[float, NDArray[np.int64]] | None = None
    failures = np.zeros(len(project.behaviors), np.int64)
    for _ in range(_DRAWS):
        drawn = random.integers(0, count, len(names))
        shares = np.stack([frames[drawn == fold].sum(axis=0) for fold in range(count)])
        if not shares.all():
            failures += (shares == 0).any(axis=0)
            continue
        distance = float(np.abs(np.log(shares * count / shares.sum(axis=0))).mean())
        if best is None or distance < best[0]:
            best = distance, drawn
    if best is None:
        _refuse(project.behaviors, frames > 0, failures, f"{count} folds")
    return tuple(
        tuple(name for name, fold in zip(names, best[1], strict=True) if fold == wanted)
        for wanted in range(count)
    )


def named_split(
    names: Sequence[str], *, validation: Sequence[str], test: Sequence[str], seed: int
) -> Split:
    """Split whole recordings by names and patterns; what no pattern names trains.

    Args:
        names: of all recordings.
        validation: names or patterns with * of the recordings that validate.
        test: the same of the test.
        seed: of the training, noted in the split.

    Raises:
        InvalidConfig: a pattern names no recording, two parts share one, or a part is empty.
    """
    validating, tested = _matching(names, validation), _matching(names, test)
    training = [name for name in names if name not in {*validating, *tested}]
    shared = set(validating) & set(tested)
    if shared or not training or not tested:
        raise InvalidConfig(
            f"{len(training)} recordings train, {len(validating)} validate and {len(tested)} test, "
            f"{len(shared)} of them twice; give training and test one at least, and none to two "
            "parts"
        )
    chosen = f"; validation: {', '.join(validation)}" if validation else "; no validation"
    return Split(
        rule=f"whole recordings; test: {', '.join(test)}{chosen}",
        seed=seed,
        training=tuple(training),
        validation=tuple(validating),
        test=tuple(tested),
    )


def extend_recordings(
    earlier: Split,
    project: BehaviorProject,
    *,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    seed: int = 1,
) -> Split:
    """Take an earlier split, such as split.yaml of a project, with recordings that came later.

    Recordings stay in their part; those that are gone or not labelled any more are left out. New
    ones go by random to the part that is furthest below its share.

    Raises:
        InvalidConfig: the shares are wrong, or no recording is labelled.
    """
    names, _ = _labelled(project)
    if not names:
        raise InvalidConfig("no recording has a labelled frame; label some")
    _check_shares(shares)
    parts = [
        [name for name in part if name in names]
        for part in (earlier.training, earlier.validation, earlier.test)
    ]
    new = sorted(set(names) - {name for part in parts for name in part})
    for place in np.random.default_rng(seed).permutation(len(new)):
        lacks = [share * len(names) - len(part) for share, part in zip(shares, parts, strict=True)]
        parts[int(np.argmax(lacks))].append(new[place])
    rule = f"{earlier.rule}, {len(new)} new recordings by random" if new else earlier.rule
    return _split(rule, earlier.seed, parts)


def missing_behaviors(split: Split, project: BehaviorProject) -> dict[str, tuple[str, ...]]:
    """For each part that has recordings, the behaviors without a labelled frame in it."""
    names, frames = _labelled(project)
    missing = {}
    for part in _PARTS:
        members: tuple[str, ...] = getattr(split, part)
        rows = [names.index(name) for name in members if name in names]
        counts = frames[rows].sum(axis=0)
        if members:
            missing[part] = tuple(
                name for name, count in zip(project.behaviors, counts, strict=True) if not count
            )
    return missing


def _labelled(project: BehaviorProject) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the recordings with labels, sorted, and (R, C) labelled frames of each behavior."""
    names, rows = [], []
    for recording in sorted(project.recordings, key=lambda one: one.name):
        known = (recording.labels != NOT_LABELLED).all(axis=1)
        if known.any():
            names.append(recording.name)
            rows.append((recording.labels[known] == 1).sum(axis=0))
    return names, np.array(rows, np.int64).reshape(len(names), len(project.behaviors))


def _check_shares(shares: Sequence[float]) -> None:
    text = ", ".join(f"{share:g}" for share in shares)
    is_whole = len(shares) == len(_PARTS) and abs(sum(shares) - 1) < 1e-6
    if not is_whole or min(shares) < 0 or not shares[0]:
        raise InvalidConfig(
            f"the shares of training, validation and test are {text}; give three from 0 with the "
            "sum 1, and some for training"
        )


def _sizes(count: int, shares: Sequence[float]) -> tuple[int, int, int]:
    _check_shares(shares)
    held = [max(1, round(share * count)) if share else 0 for share in shares[1:]]
    parts = 1 + sum(size > 0 for size in held)
    if count < parts:
        raise InvalidConfig(
            f"{count} labelled recordings cannot be split into {parts} parts; label {parts} or "
            "more, or give a share of 0"
        )
    while sum(held) >= count:  # few recordings: the larger part gives way
        held[int(np.argmax(held))] -= 1
    return count - sum(held), held[0], held[1]


def _check_possible(
    behaviors: Sequence[str], positive: NDArray[np.bool_], sizes: Sequence[int]
) -> None:
    parts = sum(size > 0 for size in sizes)
    for name, found in zip(behaviors, positive.sum(axis=0), strict=True):
        if found < parts:
            raise InvalidConfig(
                f"{name} is labelled in {found} of {len(positive)} recordings, but each of "
                f"{parts} parts needs one; label it in more recordings, cut a recording in parts, "
                "give a share of 0, or remove the behavior"
            )


def _draw(
    behaviors: Sequence[str],
    names: Sequence[str],
    positive: NDArray[np.bool_],
    sizes: Sequence[int],
    random: np.random.Generator,
    earlier: Sequence[Split],
) -> list[list[str]]:
    limits = np.cumsum(sizes)[:-1]
    failures = np.zeros(len(behaviors), np.int64)
    repeated: list[list[str]] | None = None
    for _ in range(_DRAWS):
        parts = np.split(random.permutation(len(names)), limits)
        lacks = [~positive[part].any(axis=0) for part in parts if len(part)]
        if np.any(lacks):
            failures += np.any(lacks, axis=0)
            continue
        drawn = [[names[place] for place in part] for part in parts]
        held = [set(part) for part in drawn[1:]]
        if all(held != [set(one.validation), set(one.test)] for one in earlier):
            return drawn
        repeated = drawn
    if repeated is not None:
        return repeated
    _refuse(
        behaviors, positive, failures, f"every part of {' + '.join(map(str, sizes))} recordings"
    )


def _refuse(
    behaviors: Sequence[str],
    positive: NDArray[np.bool_],
    failures: NDArray[np.int64],
    parts: str,
) -> NoReturn:
    worst = int(failures.argmax())
    raise InvalidConfig(
        f"none of {_DRAWS} draws had every behavior in {parts}; most often {behaviors[worst]} "
        f"was missing, which is labelled in {positive[:, worst].sum()} of {len(positive)} "
        "recordings: label it in more of them, or name the parts yourself"
    )


def _split(rule: str, seed: int, parts: Sequence[Sequence[str]]) -> Split:
    training, validation, test = (tuple(sorted(part)) for part in parts)
    return Split(rule=rule, seed=seed, training=training, validation=validation, test=test)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidConfig(f"no recording matches {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]

from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidConfig
from training.data.behavior_labels import (
    BehaviorProject,
    BehaviorRecording,
    read_behavior_project,
)
from training.data.behavior_splits import (
    balanced_folds,
    draw_split,
    extend_recordings,
    k_splits,
    missing_behaviors,
)
from training.runs import Split


def recording(name: str, *behaviors: int, labelled: bool = True) -> BehaviorRecording:
    """Ten frames, `run` and `rear` present in as many first frames as told."""
    labels = np.zeros((10, 2), np.int8)
    for column, count in enumerate(behaviors):
        labels[:count, column] = 1
    if not labelled:
        labels[:, 1] = -1
    return BehaviorRecording(name, Path(f"{name}.mp4"), labels, ((0, 10),))


def project(*recordings: BehaviorRecording) -> BehaviorProject:
    return BehaviorProject(("run", "rear"), recordings)


TEN = project(*(recording(f"m{n}", 3, 2 if n < 4 else 0) for n in range(10)))


def parts(split: Split) -> tuple[set[str], set[str], set[str]]:
    return set(split.training), set(split.validation), set(split.test)


def test_every_part_has_every_behavior_and_every_recording_is_in_one_part() -> None:
    for seed in range(20):
        split = draw_split(TEN, seed=seed)
        training, validation, test = parts(split)
        assert (len(training), len(validation), len(test)) == (6, 2, 2)
        assert training | validation | test == {f"m{n}" for n in range(10)}
        assert not any(missing_behaviors(split, TEN).values())


def test_a_seed_gives_the_same_split_in_any_order_of_the_recordings() -> None:
    turned = BehaviorProject(TEN.behaviors, TEN.recordings[::-1])
    assert draw_split(TEN, seed=3) == draw_split(turned, seed=3)
    assert draw_split(TEN, seed=3) != draw_split(TEN, seed=4)


def test_recordings_without_a_fully_labelled_frame_are_in_no_part() -> None:
    with_unlabelled = project(*TEN.recordings, recording("empty", 5, 5, labelled=False))
    split = draw_split(with_unlabelled)
    assert "empty" not in set().union(*parts(split))


def test_a_behavior_that_is_in_too_few_recordings_is_named() -> None:
    few = project(recording("a", 3, 2), recording("b", 3, 1), recording("c", 3), recording("d", 3))
    with pytest.raises(InvalidConfig, match="rear is labelled in 2 of 4 recordings, but each of 3"):
        draw_split(few)
    training, validation, test = parts(draw_split(few, shares=(0.5, 0.5, 0.0)))
    assert len(training) == len(validation) == 2
    assert not test


def test_behaviors_that_exclude_each_other_by_recording_are_told_apart_from_bad_luck() -> None:
    apart = project(
        *(recording(f"run{n}", 3, 0) for n in range(3)),
        *(recording(f"rear{n}", 0, 3) for n in range(3)),
    )
    shares = (0.66, 0.17, 0.17)  # the parts of one recording hold one behavior
    with pytest.raises(InvalidConfig, match=r"none of 5000 draws .* 4 \+ 1 \+ 1 recordings"):
        draw_split(apart, shares=shares)


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (0.0, 0.5, 0.5), (1.2, -0.2, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidConfig, match="give three from 0 with the sum 1"):
        draw_split(TEN, shares=shares)


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="2 labelled recordings cannot be split into 3 parts"):
        draw_split(project(recording("a", 3, 2), recording("b", 3, 1)))


def test_several_splits_differ_and_begin_with_the_single_one() -> None:
    splits = k_splits(TEN, 5, seed=2)
    assert len({(one.validation, one.test) for one in splits}) == 5
    assert parts(splits[0]) == parts(draw_split(TEN, seed=2))
    assert splits == k_splits(TEN, 5, seed=2)


def test_several_splits_repeat_where_recordings_are_few() -> None:
    three = project(*(recording(name, 3, 2) for name in "abc"))
    splits = k_splits(three, 8)
    assert len({(one.validation, one.test) for one in splits}) == 6


def test_a_split_is_extended_by_new_recordings_and_keeps_the_old_ones() -> None:
    earlier = Split(
        rule="split.yaml of the project",
        seed=0,
        training=("m0", "m1", "gone"),
        validation=("m2",),
        test=("m3",),
    )
    split = extend_recordings(earlier, TEN)
    training, validation, test = parts(split)
    assert {"m0", "m1"} <= training
    assert "m2" in validation
    assert "m3" in test
    assert (len(training), len(validation), len(test)) == (6, 2, 2)
    assert "6 new recordings by random" in split.rule
    assert extend_recordings(split, TEN) == split


def test_a_part_without_a_behavior_is_told() -> None:
    split = Split(rule="by hand", seed=0, training=("m0",), validation=("m9",), test=())
    assert missing_behaviors(split, TEN) == {"training": (), "validation": ("rear",)}


@pytest.mark.real_data
@pytest.mark.parametrize("exclusive", [False, True])
def test_the_rat_recordings_are_split_with_every_behavior_in_every_part(
    shared_data: Path, exclusive: bool
) -> None:
    rats = read_behavior_project([shared_data / "rat-behavior"], exclusive=exclusive)
    splits = k_splits(rats, 3, shares=(0.5, 0.25, 0.25))
    assert not any(name for one in splits for name in missing_behaviors(one, rats).values())
    assert len({one.test for one in splits}) == 3


def test_folds_hold_about_as_much_of_every_behavior() -> None:
    uneven = project(
        *(recording(f"long{n}", 8, 0) for n in range(4)),
        *(recording(f"short{n}", 2, 1) for n in range(8)),
    )
    folds = balanced_folds(uneven, 4)
    assert sorted(name for fold in folds for name in fold) == sorted(
        one.name for one in uneven.recordings
    )
    shares = [
        sum((one.labels == 1).sum(axis=0) for one in uneven.choose(fold)).tolist() for fold in folds
    ]
    assert shares == [[12, 2]] * 4
    assert balanced_folds(uneven, 4) == folds
    assert balanced_folds(uneven, 4, seed=2) != folds


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="2 or more"):
        balanced_folds(TEN, 1)
    with pytest.raises(InvalidConfig, match="cannot be shared out to 11 folds"):
        balanced_folds(TEN, 11)
    with pytest.raises(InvalidConfig, match="rear is labelled in 4 of 10"):
        balanced_folds(TEN, 5)

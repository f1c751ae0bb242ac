import pytest

from service.errors import InvalidConfig
from training.data.splits import SplitSettings, extend_split, split_frames

pytestmark = pytest.mark.needs_train

NAMES = tuple(f"{video}/img{number}.png" for video in "ab" for number in range(50))


def test_the_split_is_disjoint_complete_and_the_same_for_a_seed() -> None:
    settings = SplitSettings(validation_share=0.1, test_share=0.2, seed=4)
    split = split_frames(NAMES, settings)
    assert (len(split.training), len(split.validation), len(split.test)) == (70, 10, 20)
    assert sorted((*split.training, *split.validation, *split.test)) == sorted(NAMES)
    assert split == split_frames(NAMES, settings)
    assert split != split_frames(NAMES, SplitSettings(seed=5))


def test_a_part_that_was_not_asked_for_is_empty() -> None:
    split = split_frames(NAMES, SplitSettings(validation_share=0, test_share=0.2))
    assert (len(split.training), split.validation, len(split.test)) == (80, (), 20)
    assert "the last epoch is taken" in split.rule
    assert split_frames(NAMES, SplitSettings(validation_share=0, test_share=0)).test == ()


def test_whole_videos_can_be_kept_for_the_test() -> None:
    split = split_frames(NAMES, SplitSettings(test_videos=("b",)))
    assert {name[0] for name in split.test} == {"b"}
    assert {name[0] for name in (*split.training, *split.validation)} == {"a"}
    with pytest.raises(InvalidConfig, match="no labelled frame is of the video c; the videos are"):
        split_frames(NAMES, SplitSettings(test_videos=("c",)))


@pytest.mark.parametrize(
    ("shares", "message"),
    [((0.001, 0.2), "validation_share 0.001"), ((0.1, 0.001), "test_share"), ((0.5, 0.5), "none")],
)
def test_a_split_without_frames_of_an_asked_kind_is_refused(
    shares: tuple[float, float], message: str
) -> None:
    settings = SplitSettings(validation_share=shares[0], test_share=shares[1])
    with pytest.raises(InvalidConfig, match=message):
        split_frames(NAMES, settings)


def test_shares_outside_their_range_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="test_share is 1"):
        SplitSettings(test_share=1.0)


def test_more_frames_train_and_held_out_ones_stay_held_out() -> None:
    earlier = split_frames(NAMES, SplitSettings())
    kept = [name for name in NAMES if name != earlier.test[0]]
    later = extend_split(earlier, [*kept, "c/img1.png"])
    assert later.test == earlier.test[1:]
    assert later.validation == earlier.validation
    assert set(later.training) == {*earlier.training, "c/img1.png"}

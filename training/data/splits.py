"""Which labelled frames train, which choose the epoch and which are reported."""

from collections.abc import Sequence

import msgspec
import numpy as np

from service.errors import InvalidConfig
from training.runs import Split


class SplitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to split."""

    validation_share: float = 0.1
    """Of all frames; they choose the best epoch. 0: the last epoch is taken."""
    test_share: float = 0.2
    """Of all frames; nothing is chosen on them. 0: none, for a network that is only to be used."""
    test_videos: tuple[str, ...] = ()
    """Video folders that are kept for the test as a whole, instead of random frames."""
    seed: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name):g}; give 0 to below 1")


def split_frames(names: Sequence[str], settings: SplitSettings) -> Split:
    """Split frames by random, or by video folder.

    Args:
        names: of all frames, `<video folder>/<picture>`.
        settings: how.

    Raises:
        InvalidConfig: a part that was asked for gets no frame, or no video has such a name.
    """
    random = np.random.default_rng(settings.seed)
    if settings.test_videos:
        test = _of_videos(names, settings.test_videos)
        rule = f"videos {', '.join(settings.test_videos)} for the test"
    else:
        shuffled = [names[index] for index in random.permutation(len(names))]
        test = shuffled[: round(len(names) * settings.test_share)]
        rule = f"random frames: {len(test)} of {len(names)} for the test"
        if settings.test_share and not test:
            raise _too_few("test_share", settings.test_share, len(names))
    held = set(test)
    rest = [name for name in names if name not in held]
    rest = [rest[index] for index in random.permutation(len(rest))]
    count = round(len(names) * settings.validation_share)
    if settings.validation_share and not count:
        raise _too_few("validation_share", settings.validation_share, len(names))
    if count >= len(rest):
        raise InvalidConfig(
            f"{len(test)} frames for the test and {count} to choose the epoch leave none of "
            f"{len(names)} to train on; lower the shares or label more frames"
        )
    how = f"{count} to choose the epoch" if count else "the last epoch is taken"
    return Split(
        rule=f"{rule}, {how}",
        seed=settings.seed,
        training=tuple(sorted(rest[count:])),
        validation=tuple(sorted(rest[:count])),
        test=tuple(sorted(test)),
    )


def extend_split(earlier: Split, names: Sequence[str]) -> Split:
    """Return the split of a run that goes on from an earlier one with more frames.

    Frames that were held out stay so, for figures that can be compared; new ones train.
    """
    present = set(names)
    test = tuple(name for name in earlier.test if name in present)
    validation = tuple(name for name in earlier.validation if name in present)
    held = {*test, *validation}
    training = tuple(sorted(name for name in names if name not in held))
    return Split(
        rule=f"that of the earlier run ({earlier.rule}); new frames train",
        seed=earlier.seed,
        training=training,
        validation=validation,
        test=test,
    )


def _of_videos(names: Sequence[str], videos: Sequence[str]) -> list[str]:
    folders = {name.split("/")[0] for name in names}
    unknown = [video for video in videos if video not in folders]
    if unknown:
        raise InvalidConfig(
            f"no labelled frame is of the video {unknown[0]}; the videos are "
            f"{', '.join(sorted(folders))}"
        )
    return [name for name in names if name.split("/")[0] in videos]


def _too_few(name: str, share: float, frames: int) -> InvalidConfig:
    return InvalidConfig(
        f"{name} {share:g} of {frames} frames is no frame; give a larger share or 0"
    )

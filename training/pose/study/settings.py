"""What a study asks, and the trainings (rows) that answer it.

Nothing is chosen on the frames that are reported: rows have no validation part and take the last
epoch. The study of steps alone holds its test frames out as the validation part, to see the error
of every epoch; nothing is chosen by it either.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import msgspec

from service.errors import InvalidConfig
from training.data.frames import keypoint_indices
from training.data.splits import SplitSettings
from training.pose.presets import PRESETS, PresetName
from training.pose.settings import PoseChoices
from training.study.rows import StudyRow

StudyKind = Literal["splits", "size", "radius", "subsets", "networks", "steps"]
KINDS: tuple[StudyKind, ...] = get_args(StudyKind)
TITLES: dict[StudyKind, str] = {
    "splits": "random splits",
    "size": "size of the training set",
    "radius": "radius of the label",
    "subsets": "body parts together and apart",
    "networks": "networks on the same split",
    "steps": "error over training steps",
}
DEFAULT_SPLITS: dict[StudyKind, int] = {
    "splits": 5,
    "size": 3,
    "radius": 3,
    "subsets": 3,
    "networks": 1,
    "steps": 1,
}
_SINGLE_PRESET: tuple[PresetName, ...] = ("fast",)
_TOGETHER = "together"


class StudySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One study."""

    kind: StudyKind
    presets: tuple[PresetName, ...] = ()
    """Each is a series; empty takes tiny and fast for splits and networks, else fast."""
    backbones: tuple[str, ...] = ()
    """networks: these as well, with the sizes of the first preset."""
    splits: int | None = None
    """Random splits of each point; None takes `DEFAULT_SPLITS`."""
    test_share: float = 0.2
    shares: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 0.95)
    """size: parts of all frames that train; the others are the test."""
    radii_px: tuple[float, ...] = (6.0, 8.0, 10.0, 13.0, 17.0, 23.0)
    """radius: px of the model input."""
    groups: tuple[tuple[str, ...], ...] = ()
    """subsets: keypoints that are trained together; empty takes each alone."""
    backbone_weights: dict[str, str] = {}
    """Files of ImageNet weights by the name of the backbone."""
    base: PoseChoices = PoseChoices()
    """What all rows have in common."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.splits is not None and self.splits < 1:
            raise InvalidConfig(f"{self.splits} splits; give at least 1")
        wrong = [share for share in (*self.shares, self.test_share) if not 0 < share < 1]
        if wrong:
            raise InvalidConfig(f"a share is {wrong[0]:g}; give more than 0 and less than 1")


PoseRow = StudyRow[PoseChoices]


def plan_rows(settings: StudySettings, keypoints: Sequence[str]) -> list[PoseRow]:
    """Return the rows of a study, split by split.

    Args:
        settings: what is asked.
        keypoints: that the data labels.

    Raises:
        InvalidConfig: a group names a keypoint that is not labelled, or two rows are the same.
    """
    count = settings.splits or DEFAULT_SPLITS[settings.kind]
    first = settings.base.seed
    rows = [row for seed in range(first, first + count) for row in _rows(settings, keypoints, seed)]
    keys = [row.key for row in rows]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise InvalidConfig(f"{twice[0]} would be trained twice; name each value once")
    return rows


def _rows(settings: StudySettings, keypoints: Sequence[str], seed: int) -> Iterator[PoseRow]:
    kind = settings.kind
    if kind == "networks":
        yield from _network_rows(settings, seed)
        return
    several: tuple[PresetName, ...] = ("tiny", "fast")
    for preset in settings.presets or (several if kind == "splits" else _SINGLE_PRESET):
        split = _split(settings.test_share, seed)
        if kind == "size":
            for share in settings.shares:
                part = _split(1 - share, seed)
                yield _row(settings, preset, seed, part, x=share)
        elif kind == "radius":
            for radius_px in settings.radii_px:
                yield _row(settings, preset, seed, split, x=radius_px, radius_px=radius_px)
        elif kind == "subsets":
            groups = settings.groups or tuple((name,) for name in keypoints)
            yield _row(settings, preset, seed, split, series=_TOGETHER)
            for group in groups:
                keypoint_indices(keypoints, group)
                yield _row(settings, preset, seed, split, series="+".join(group), keypoints=group)
        elif kind == "steps":
            watched = SplitSettings(validation_share=settings.test_share, test_share=0.0, seed=seed)
            yield _row(settings, preset, seed, watched)
        else:
            yield _row(settings, preset, seed, split)


def _network_rows(settings: StudySettings, seed: int) -> Iterator[PoseRow]:
    split = _split(settings.test_share, seed)
    presets = settings.presets or (_SINGLE_PRESET if settings.backbones else ("tiny", "fast"))
    for preset in presets:
        yield _row(settings, preset, seed, split)
    for backbone in settings.backbones:
        yield _row(settings, presets[0], seed, split, series=backbone, backbone=backbone)


def _row(
    settings: StudySettings,
    preset: PresetName,
    seed: int,
    split: SplitSettings,
    *,
    series: str = "",
    x: float | None = None,
    **chosen: object,
) -> PoseRow:
    base = settings.base
    backbone = chosen.get("backbone") or base.backbone or PRESETS[preset].backbone
    weights = settings.backbone_weights.get(str(backbone), base.backbone_weights)
    choices = msgspec.structs.replace(
        base, preset=preset, split=split, seed=seed, backbone_weights=weights, **chosen
    )
    name = series or preset
    several = settings.kind == "subsets" and len(settings.presets) > 1
    name = f"{preset} {name}" if several else name
    at = "" if x is None else f"-{x:g}"
    key = "".join(letter if letter.isalnum() or letter in "+_-." else "-" for letter in name)
    return PoseRow(key=f"{key}{at}-split{seed}", series=name, x=x, choices=choices)


def _split(test_share: float, seed: int) -> SplitSettings:
    return SplitSettings(validation_share=0.0, test_share=round(test_share, 6), seed=seed)

"""Reads from a DeepLabCut project's config.yaml what its labels are checked against."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from training.data.labels import InvalidLabels

CONFIG_NAME = "config.yaml"
_Name = str | int | float
_Names = list[_Name] | None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; DeepLabCut has more of them, and each version adds some."""

    Task: _Name = ""
    scorer: _Name = ""
    multianimalproject: bool | None = None
    bodyparts: list[_Name] | str | None = None
    individuals: _Names = None
    uniquebodyparts: _Names = None
    multianimalbodyparts: _Names = None
    # Two names a bone; DeepLabCut's template has bones such as [bodypart1, bodypart2] and [].
    skeleton: list[list[_Name]] | None = None
    video_sets: dict[str, dict[str, object] | None] | None = None
    iteration: int = 0


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    """What config.yaml says of a project's labels."""

    path: Path
    task: str
    scorer: str
    animals: tuple[str, ...]
    """Names of the animals; empty in a project with one animal."""
    keypoints: tuple[str, ...]
    """All body parts, those of every animal before the unique ones."""
    unique_keypoints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    """Pairs of known keypoints; the template's examples of others are left out."""
    video_names: tuple[str, ...]
    """The videos' paths as they are written there."""
    iteration: int


def read_config(path: Path) -> ProjectConfig:
    """Read config.yaml.

    Raises:
        InvalidLabels: it is malformed, or names a body part or an animal twice.
    """
    try:
        file = msgspec.yaml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InvalidLabels(
            f"{path} cannot be read ({error.strerror}); name the folder of a DeepLabCut project"
        ) from error
    except msgspec.MsgspecError as error:
        raise InvalidLabels(f"{path} is malformed ({error}); correct or restore it") from error
    several = bool(file.multianimalproject)
    unique = _texts(file.uniquebodyparts) if several else ()
    parts = file.multianimalbodyparts if several else file.bodyparts
    if isinstance(parts, str):
        raise InvalidLabels(
            f"{path} has bodyparts {parts!r} without multianimalproject: true; give a list of "
            "body parts, or set that key"
        )
    keypoints = (*_texts(parts), *unique)
    animals = _texts(file.individuals) if several else ()
    for kind, names in (("body part", keypoints), ("individual", animals)):
        for place, name in enumerate(names):
            if name in names[:place]:
                raise InvalidLabels(f"{path} names the {kind} {name} twice; delete one of them")
    if not keypoints or (several and not animals):
        raise InvalidLabels(
            f"{path} names no {'body parts' if not keypoints else 'individuals'}; add them"
        )
    bones = [_texts(bone) for bone in file.skeleton or []]
    return ProjectConfig(
        path=path,
        task=str(file.Task),
        scorer=str(file.scorer),
        animals=animals,
        keypoints=keypoints,
        unique_keypoints=unique,
        skeleton=tuple(
            (bone[0], bone[1]) for bone in bones if len(bone) == 2 and set(bone) <= set(keypoints)
        ),
        video_names=tuple(file.video_sets or ()),
        iteration=file.iteration,
    )


def _texts(names: _Names) -> tuple[str, ...]:
    return tuple(map(str, names or ()))

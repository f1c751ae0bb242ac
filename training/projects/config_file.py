"""Writes and edits DeepLabCut's config.yaml; an edit changes its own lines and keeps the others."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.results.atomic import replacing
from training.data.deeplabcut_config import read_config
from training.data.labels import InvalidLabels

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RESERVED = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"])


def write_config(
    path: Path,
    *,
    task: str,
    scorer: str,
    date: str,
    videos: Mapping[str, str],
    keypoints: Sequence[str],
    animals: Sequence[str] = (),
    unique_keypoints: Sequence[str] = (),
    skeleton: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the config.yaml of a new project with DeepLabCut's keys and defaults.

    Args:
        path: of the file.
        task: what is studied.
        scorer: who labels.
        date: such as `Nov21`.
        videos: for each video's path its crop, `x1, x2, y1, y2` in px.
        keypoints: body parts, unique ones included.
        animals: names of several animals; empty for one.
        unique_keypoints: those of `keypoints` that exist once in the scene.
        skeleton: pairs of keypoints.
    """
    several = bool(animals)
    shared = [name for name in keypoints if name not in unique_keypoints]
    lines = [
        "# Project (the tools rely on these: better not changed by hand)",
        f"Task: {_scalar(task)}",
        f"scorer: {_scalar(scorer)}",
        f"date: {_scalar(date)}",
        f"multianimalproject: {str(several).lower()}",
        "identity: false",
        "",
        "# Where the project is; tools update it when it has moved",
        f"project_path: {_scalar(str(path.parent.resolve()))}",
        "engine: pytorch",
        "",
        "# Videos, each with the part of its frames that is used: x1, x2, y1, y2 in px",
        "video_sets:" if videos else "video_sets: {}",
        *_video_lines(videos, "  "),
    ]
    if several:
        lines += _list("individuals", animals)
        lines += _list("uniquebodyparts", unique_keypoints)
        lines += _list("multianimalbodyparts", shared)
        lines += ["bodyparts: MULTI!"]
    else:
        lines += _list("bodyparts", keypoints)
    lines += [
        "",
        "# Frames to label: the part of each video, and how many",
        "start: 0",
        "stop: 1",
        "numframes2pick: 20",
        "",
        "# Drawing",
        "skeleton:" if skeleton else "skeleton: []",
        *(f"- [{_scalar(one)}, {_scalar(two)}]" for one, two in skeleton),
        "skeleton_color: black",
        "pcutoff: 0.6",
        "dotsize: 12",
        "alphavalue: 0.7",
        "colormap: rainbow",
        "",
        "# Training, evaluation and analysis",
        "TrainingFraction:",
        "- 0.95",
        "iteration: 0",
        f"default_net_type: {'dlcrnet_ms5' if several else 'resnet_50'}",
        "default_augmenter: default",
        *(["default_track_method: ellipse"] if several else []),
        "snapshotindex: -1",
        "detector_snapshotindex: -1",
        "batch_size: 8",
        "detector_batch_size: 1",
        "",
        "# Crop while analyzing",
        "cropping: false",
        "x1: 0",
        "x2: 640",
        "y1: 277",
        "y2: 624",
        "",
        "# Refinement",
        "corner2move2:",
        "- 50",
        "- 50",
        "move2corner: true",
    ]
    with replacing(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    read_config(path)


def add_video_sets(path: Path, videos: Mapping[str, str]) -> None:
    """Append videos with their crops to `video_sets`.

    Raises:
        InvalidLabels: config.yaml has no such block that lines can be added to.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    place = next((i for i, line in enumerate(lines) if line.startswith("video_sets:")), None)
    if place is None:
        lines += ["video_sets:"]
        place = len(lines) - 1
    if lines[place].split("#")[0].split(":", 1)[1].strip() in ("{}", "null", "~"):
        lines[place] = "video_sets:"
    end = place + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " \t#?:"):
        end += 1
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    block = lines[place + 1 : end]
    indent = next((re.match(r"\s*", one)[0] for one in block if one.strip()), "  ")  # type: ignore[index]
    lines[end:end] = _video_lines(videos, indent)
    _replace(path, lines, lambda: set(videos) <= {one.name for one in read_config(path).videos})


def set_iteration(path: Path, iteration: int) -> None:
    """Set `iteration`, the number of merged rounds of refinement."""
    lines = path.read_text(encoding="utf-8").splitlines()
    places = [i for i, line in enumerate(lines) if re.match(r"iteration\s*:", line)]
    if places:
        lines[places[0]] = f"iteration: {iteration}"
    else:
        lines.append(f"iteration: {iteration}")
    _replace(path, lines, lambda: read_config(path).iteration == iteration)


def _replace(path: Path, lines: Sequence[str], is_right: Callable[[], bool]) -> None:
    """Write the lines; put the old text back if they do not say what they should."""
    before = path.read_bytes()
    with replacing(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        done = is_right()
    except InvalidLabels:
        done = False
    if not done:
        path.write_bytes(before)
        raise InvalidLabels(
            f"{path} is written in a style that cannot be edited here; add the lines by hand"
        )


def _video_lines(videos: Mapping[str, str], indent: str) -> list[str]:
    lines = []
    for video, crop in videos.items():
        lines += [f"{indent}{_key(video)}:", f"{indent}{indent}crop: {crop}"]
    return lines


def _list(key: str, names: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"- {_scalar(name)}" for name in names)] if names else [f"{key}: []"]


def _key(text: str) -> str:
    return text if re.fullmatch(r"/[\w./-]+", text) else json.dumps(text, ensure_ascii=False)


def _scalar(text: str) -> str:
    """Text as YAML takes it for a string."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return _key(text)

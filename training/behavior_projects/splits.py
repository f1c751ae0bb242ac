"""Keeps split.yaml of a project: drawn once, then extended as videos are labelled."""

from pathlib import Path

from training.data.behavior_labels import read_behavior_project
from training.data.behavior_splits import DEFAULT_SHARES, draw_split, extend_recordings
from training.data.deepethogram import SPLIT_NAME, read_deepethogram, read_split, write_split
from training.projects.backups import back_up
from training.runs import Split


def update_split(
    project: Path,
    *,
    shares: tuple[float, float, float] = DEFAULT_SHARES,
    seed: int = 1,
    redraw: bool = False,
) -> tuple[Path, Split]:
    """Draw split.yaml of a project, or extend the one that it has by what is not in it.

    A file that changes is copied to label-backups first.

    Args:
        project: the project's folder.
        shares: of training, validation and test.
        seed: of what is drawn.
        redraw: draw anew where there is one.

    Returns:
        Its path, and what it holds now.

    Raises:
        InvalidConfig: as `draw_split`.
        InvalidLabels: labels or the earlier file cannot be read.
    """
    path = read_deepethogram(project).data / SPLIT_NAME
    labelled = read_behavior_project([project], exclusive=False)
    if path.is_file() and not redraw:
        split = extend_recordings(read_split(path), labelled, shares=shares, seed=seed)
    else:
        split = draw_split(labelled, shares=shares, seed=seed)
    if path.is_file():
        back_up(project, [path])
    write_split(split, path)
    return path, split

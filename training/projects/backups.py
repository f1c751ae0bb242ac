"""Copies of label files, made before they are changed."""

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path

FOLDER = "label-backups"


def back_up(project: Path, files: Sequence[Path]) -> list[Path]:
    """Copy files of a project to label-backups/<time>/, with the path that they have in it.

    The folder lies apart from labeled-data, so that no labelling tool takes a copy for labels.

    Returns:
        The copies.
    """
    moment = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    copies = []
    for file in files:
        copy = project / FOLDER / moment / file.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
        copies.append(copy)
    return copies

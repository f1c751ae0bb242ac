"""Files that are there whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of `path` when the block ends without an error.

    The temporary file lies in the same folder (a rename never crosses disks), begins with a dot
    and keeps the ending, which some writers look at.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        _sync(unfinished, os.O_RDWR)  # else a power cut may leave the name with nothing behind it
        unfinished.replace(path)
        if sys.platform != "win32":  # folders cannot be opened there
            _sync(path.parent, os.O_RDONLY)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

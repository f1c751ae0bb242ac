"""Files that are there whole or not at all."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of `path` when the block ends without an error.

    The temporary file lies in the same folder (a rename never crosses disks), begins with a dot
    and keeps the ending, which some writers look at.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(path)
    try:
        yield unfinished
        _sync(unfinished, os.O_RDWR)  # else a power cut may leave the name with nothing behind it
        unfinished.replace(path)
        if sys.platform != "win32":  # folders cannot be opened there
            _sync(path.parent, os.O_RDONLY)
    finally:
        unfinished.unlink(missing_ok=True)


def check_names(paths: Iterable[Path]) -> None:
    """See that a disk takes the names of files, before the work that they are to hold.

    Args:
        paths: as they will be given to `replacing`; their folders are there.

    Raises:
        OSError: a name is too long; the error names it.
    """
    for path in paths:
        with suppress(FileNotFoundError):
            _unfinished(path).lstat()


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

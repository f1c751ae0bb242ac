"""A folder that is there whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `final` when the block ends without an error.

    It lies beside `final` (a rename never crosses disks) and begins with a dot, so that no server
    takes it for a model. `final` must not be there when the block ends.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        unfinished.chmod(0o755)
        yield unfinished
        unfinished.rename(final)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise

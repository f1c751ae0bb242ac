"""Where engines keep what they found out about this machine, outside the bundles."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder `name` of this user's cache, made where it does not exist.

    It lies below XDG_CACHE_HOME, or ~/.cache; nobody else may read or write it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "ethostream" / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder

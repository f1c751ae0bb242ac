"""Where engines keep what they found out about this machine, outside the bundles."""

import os
from pathlib import Path

from service.errors import EngineUnavailable


def cache_folder(name: str) -> Path:
    """Return the folder `name` of this user's cache, made where it does not exist.

    It lies below XDG_CACHE_HOME, or ~/.cache; nobody else may read or write it.

    Raises:
        EngineUnavailable: it cannot be made, such as for a user without a home.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        folder = Path(base) / "ethostream" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as error:
        raise EngineUnavailable(
            f"what {name} builds for this machine cannot be kept ({error}); set XDG_CACHE_HOME to "
            "a folder that this user may write"
        ) from error
    return folder

"""The version of the installed program."""

import importlib.metadata


def program_version() -> str:
    """Return the version; "unknown" where the program runs without being installed."""
    try:
        return importlib.metadata.version("ethostream-server")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

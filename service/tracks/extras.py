"""Loads the modules that need the analysis extra, or says how to install it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from service.errors import EngineUnavailable
from service.tracks.track import Track


def analysis_module(name: str, purpose: str) -> ModuleType:
    """Import a module of this package that needs the analysis extra.

    Args:
        name: such as `arima`.
        purpose: what needs it, as the message names it.

    Raises:
        EngineUnavailable: the extra is not installed; the message says how to.
    """
    try:
        return import_module(f"service.tracks.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("service"):
            raise
        raise EngineUnavailable(
            f"{purpose} needs {error.name}, which is not installed; run "
            "`uv sync --extra cpu --extra analysis`"
        ) from error


def sleap_reader() -> Callable[[Path], Track]:
    """Return the reader of SLEAP's files.

    Raises:
        EngineUnavailable: sleap-io is not installed.
    """
    module = analysis_module("sleap", "reading files of SLEAP")
    return cast("Callable[[Path], Track]", module.read_sleap)

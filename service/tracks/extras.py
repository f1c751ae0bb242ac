"""Loads the modules that need the analysis extra, or says how to install it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

from service import extras
from service.tracks.track import Track


def analysis_module(name: str, purpose: str) -> ModuleType:
    """Import a module of this package that needs the analysis extra.

    Args:
        name: such as `arima`.
        purpose: what needs it, as the message names it.

    Raises:
        EngineUnavailable: the extra is not installed; the message says how to.
    """
    return extras.analysis_module(f"service.tracks.{name}", purpose)


def sleap_reader() -> Callable[[Path], Track]:
    """Return the reader of SLEAP's files.

    Raises:
        EngineUnavailable: sleap-io is not installed.
    """
    module = analysis_module("sleap", "reading files of SLEAP")
    return cast("Callable[[Path], Track]", module.read_sleap)

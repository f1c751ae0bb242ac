"""Loads modules that need an optional library, or says how to install it."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from service.errors import EngineUnavailable


def analysis_module(name: str, purpose: str) -> ModuleType:
    """Import a module of the service that needs the analysis extra.

    Args:
        name: such as `service.tracks.arima`.
        purpose: what needs it, as the message names it.

    Raises:
        EngineUnavailable: the extra is not installed; the message says how to.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("service"):
            raise
        raise _missing(error.name, purpose) from error


def require_analysis(library: str, purpose: str) -> None:
    """Refuse work that needs a library of the analysis extra, without loading it.

    Args:
        library: as it is imported.
        purpose: what needs it, as the message names it.

    Raises:
        EngineUnavailable: it is not installed; the message says how to.
    """
    if find_spec(library) is None:
        raise _missing(library, purpose)


def _missing(library: str, purpose: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"{purpose} needs {library}, which is not installed; run "
        "`uv sync --extra cpu --extra analysis`"
    )

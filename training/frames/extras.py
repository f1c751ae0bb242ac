"""Loads the libraries of the analysis extra, or says how to install them."""

from importlib import import_module
from typing import Any

from service.errors import EngineUnavailable


def analysis_module(name: str, purpose: str) -> Any:
    """Import a library that only some methods need.

    Args:
        name: such as `sklearn.cluster`.
        purpose: what needs it and what else could be done, as the message has it.

    Raises:
        EngineUnavailable: it is not installed; the message says how to install it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise EngineUnavailable(
            f"{purpose} needs {name.partition('.')[0]}, which is not installed; run "
            "`uv sync --extra cpu --extra analysis`"
        ) from error

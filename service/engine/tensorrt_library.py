"""TensorRT and TensorRT-RTX: one API in two libraries, which differ in name and in reach.

TensorRT builds for the GPU that it runs on. TensorRT-RTX builds on any machine, for a list of
GPU generations, and finishes its kernels where the engine is loaded.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from service.errors import EngineUnavailable

RUNTIMES = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class _Names:
    title: str
    module: str
    install: str


_NAMES = {
    "tensorrt": _Names("TensorRT", "tensorrt", "uv sync --inexact --extra tensorrt"),
    "tensorrt-rtx": _Names(
        "TensorRT-RTX", "tensorrt_rtx_bindings", "uv sync --inexact --extra tensorrt-rtx"
    ),
}


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries, loaded."""

    runtime: str
    """tensorrt or tensorrt-rtx."""
    title: str
    """The name that people know."""
    api: Any
    """The Python bindings; they carry no types."""

    @property
    def version(self) -> str:
        """Version of the library, such as 1.7.1.116."""
        return str(self.api.__version__)

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.runtime == "tensorrt-rtx"

    def logger(self) -> Any:
        """Return a logger for the library that keeps warnings and errors in `messages`."""
        base: Any = self.api.ILogger

        class _Logger(base):  # type: ignore[misc]
            def __init__(self) -> None:
                base.__init__(self)
                self.messages: list[str] = []

            def log(self, severity: Any, message: str) -> None:
                if severity <= base.Severity.WARNING:
                    self.messages.append(message)

        return _Logger()


def is_installed(runtime: str) -> bool:
    """Say whether the bindings of `runtime` are installed, without loading them."""
    return find_spec(_NAMES[runtime].module) is not None


def install_command(runtime: str) -> str:
    """Return the command that installs `runtime`."""
    return _NAMES[runtime].install


def require_installed(runtime: str) -> None:
    """Refuse a library that is not installed, without loading it.

    Raises:
        EngineUnavailable: the bindings of `runtime` are not installed.
    """
    names = _NAMES[runtime]
    if not is_installed(runtime):
        raise EngineUnavailable(
            f'{names.title} is not installed; run `{names.install}`, or set engine = "auto"'
        )


def load_library(runtime: str) -> Library:
    """Load the bindings of `runtime`: tensorrt or tensorrt-rtx.

    Raises:
        EngineUnavailable: they are not installed, or a library of theirs cannot be loaded.
    """
    names = _NAMES[runtime]
    require_installed(runtime)
    try:
        api = import_module(names.module)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineUnavailable(
            f"{names.title} is installed but cannot be loaded: {error}; run "
            f"`{names.install} --reinstall`, and see `ethostream doctor`"
        ) from error
    return Library(runtime=runtime, title=names.title, api=api)

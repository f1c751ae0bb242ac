"""Asks whether the library of one of ONNX Runtime's providers for GPUs can be loaded here.

ONNX Runtime lists a provider that was built into its package even where CUDA, cuDNN or TensorRT are
missing, and then computes on the CPU.
"""

import ctypes
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_MOST_S = 60


@cache
def find_load_failure(provider: str) -> str:
    """Say why a provider's library cannot be loaded, as the system tells; empty where it can be.

    This is tried in a process of its own: in this one, ONNX Runtime must be the first to load it.

    Args:
        provider: cuda or tensorrt.
    """
    command = [sys.executable, "-P", "-c", f"from {__name__} import main; main()", provider]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_MOST_S
        )
    except subprocess.TimeoutExpired:
        return f"it takes more than {_MOST_S} s, as where the driver is broken"
    return tried.stderr.strip().rpartition("\n")[2] if tried.returncode else ""


def load_gpu_libraries() -> None:
    """Load CUDA, cuDNN and TensorRT from their Python packages; the system's come second."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    if find_spec("tensorrt") is not None:
        import tensorrt  # noqa: F401  (importing it loads its libraries)


def main() -> None:
    """Load the library of the provider that the argument names, or end with the reason."""
    import onnxruntime

    load_gpu_libraries()
    folder = Path(onnxruntime.__file__).parent / "capi"
    name = "{}.dll" if sys.platform == "win32" else "lib{}.so"
    try:
        for one in ("shared", sys.argv[1]):
            library = folder / name.format(f"onnxruntime_providers_{one}")
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    except OSError as error:
        sys.exit(str(error))

"""Engines: the run-times that compute a graph, behind one small protocol.

To add one: write `service/engine/<name>.py` with a class that has the members of `Engine`, add
its branch to `create_engine` and its name to `EngineName`, and add tests mirroring a sibling's.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import structlog

from service.bundle import Manifest
from service.engine.base import Engine, Tensors, TensorSpec
from service.engine.fake import FakeEngine
from service.errors import EngineUnavailable

__all__ = [
    "Engine",
    "FakeEngine",
    "TensorSpec",
    "Tensors",
    "choose_engine",
    "create_engine",
    "default_threads",
]

AUTO_ORDER = ("openvino", "onnxruntime")
"""What `auto` tries, in this order; the choice is logged and reported with each bundle."""

log = structlog.get_logger("ethostream.engine")


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_engine(manifest: Manifest, engine: str, precision: str) -> tuple[str, str]:
    """Resolve `auto` to an engine that is installed and a precision that passed the parity gate.

    Args:
        manifest: the bundle; its `precisions` say what passed, best first.
        engine: auto, onnxruntime or openvino.
        precision: auto, fp32 or bf16.

    Raises:
        EngineUnavailable: the named engine is not installed or unknown, or no precision of it
            passed the gate.
    """
    if engine == "auto":
        installed = [name for name in AUTO_ORDER if find_spec(name)]
        if not installed:
            raise EngineUnavailable(
                "neither OpenVINO nor ONNX Runtime is installed; run `uv sync --extra cpu`"
            )
        engine = installed[0]
    passed = manifest.precisions.get(engine, ("fp32",))
    if precision == "auto":
        usable = [one for one in passed if one != "bf16" or _computes_bf16(engine)]
        precision = usable[0] if usable else "fp32"
    elif precision not in passed:
        raise EngineUnavailable(
            f"{manifest.name} version {manifest.version} did not pass the parity gate on {engine} "
            f"in {precision}; choose one of {', '.join(passed)}"
        )
    return engine, precision


def create_engine(graph: Path, *, engine: str, precision: str, threads: int) -> Engine:
    """Load one ONNX graph.

    Args:
        graph: path of the .onnx file.
        engine: onnxruntime or openvino.
        precision: fp32, or bf16 where the engine and the processor have it.
        threads: number of threads that compute one batch.

    Raises:
        EngineUnavailable: the engine is unknown or not installed, or lacks the precision.
        EngineFailed: the runtime cannot read the graph.
    """
    if engine == "onnxruntime":
        if precision != "fp32":
            raise EngineUnavailable(f"onnxruntime computes in fp32, not {precision}")
        _need("onnxruntime")
        from service.engine.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph, threads=threads)
    if engine == "openvino":
        if precision not in ("fp32", "bf16"):
            raise EngineUnavailable(f"openvino computes in fp32 or bf16, not {precision}")
        _need("openvino")
        from service.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(graph, threads=threads, precision=precision)
    raise EngineUnavailable(f"unknown engine {engine!r}; choose one of onnxruntime, openvino")


def _need(module: str) -> None:
    if find_spec(module) is None:
        raise EngineUnavailable(
            f'{module} is not installed; run `uv sync --extra cpu`, or set engine = "auto"'
        )


def _computes_bf16(engine: str) -> bool:
    if engine != "openvino":
        return False
    from service.engine.openvino import cpu_computes_bf16

    return cpu_computes_bf16()

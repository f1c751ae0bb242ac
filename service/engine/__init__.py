"""Engines: the run-times that compute a graph, behind one small protocol.

To add one: write `service/engine/<name>.py` with a class that has the members of `Engine`, add
its branch to `create_engine` and its name to `service/engine_names.py`, and add tests mirroring a
sibling's.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from service.bundle import Bundle, Manifest
from service.engine.base import Engine, Tensors, TensorSpec
from service.engine.built import built_engine
from service.engine.cuda import find_gpu
from service.engine.fake import FakeEngine
from service.engine.provider_library import find_load_failure
from service.engine.tensorrt_library import RUNTIMES, load_library, require_installed
from service.engine_names import AUTO_ORDER, ENGINES, PRECISIONS
from service.errors import EngineUnavailable

__all__ = [
    "AUTO_ORDER",
    "ENGINES",
    "Engine",
    "FakeEngine",
    "TensorSpec",
    "Tensors",
    "choose_engine",
    "create_engine",
    "default_threads",
    "engine_file",
    "load_graph",
]

# OpenVINO tells Intel through Google of each import, unasked, and forks the server to do so. It
# takes the package that does it for optional: without it nobody is told.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_engine(manifest: Manifest, engine: str, precision: str) -> tuple[str, str]:
    """Resolve `auto` to an engine that works here and a precision that passed the parity gate.

    Args:
        manifest: the bundle; its `precisions` say what passed, best first.
        engine: auto, or one of `ENGINES`.
        precision: auto, fp32, bf16, fp16 or int8.

    Raises:
        EngineUnavailable: the named engine is unknown or does not work here, or no precision of it
            passed the gate.
    """
    if engine != "auto":
        return engine, _choose_precision(manifest, engine, precision)
    passed_over = {}
    for name in AUTO_ORDER:
        try:
            return name, _choose_precision(manifest, name, precision)
        except EngineUnavailable as error:
            passed_over[name] = str(error)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in passed_over.items())
    raise EngineUnavailable(f"no engine can compute {manifest.name} here: {reasons}")


def engine_file(bundle: Bundle, graph: str, *, engine: str, precision: str) -> Path:
    """Return the file that `create_engine` loads for one graph of a bundle.

    Args:
        bundle: a bundle whose files match their hashes.
        graph: name of the graph.
        engine: one of `ENGINES`.
        precision: a precision as `choose_engine` answers it.

    Raises:
        EngineUnavailable: TensorRT is asked for, and the bundle has no engine for this GPU and this
            version of the library, or one of the two is missing.
    """
    if engine not in RUNTIMES:
        return bundle.graph_path(graph, precision)
    entry = built_engine(
        bundle.manifest,
        graph,
        runtime=engine,
        precision=precision,
        runtime_version=load_library(engine).version,
        gpu=find_gpu(),
    )
    return bundle.directory / entry.file.path


def load_graph(bundle: Bundle, graph: str, *, engine: str, precision: str, threads: int) -> Engine:
    """Load one graph of a bundle; arguments and errors as of `engine_file` and `create_engine`."""
    path = engine_file(bundle, graph, engine=engine, precision=precision)
    return create_engine(path, engine=engine, precision=precision, threads=threads)


def create_engine(graph: Path, *, engine: str, precision: str, threads: int) -> Engine:
    """Load one graph.

    Args:
        graph: path of the .onnx file, the QDQ one for int8; of the built engine for TensorRT and
            TensorRT-RTX. `engine_file` finds it.
        engine: one of `ENGINES`.
        precision: one that the engine has: fp32; bf16 on OpenVINO where the processor has it; fp16
            on TensorRT; int8.
        threads: number of threads that compute one batch on the CPU.

    Raises:
        EngineUnavailable: the engine is unknown or not installed, or lacks the precision.
        BundleInvalid: the file is not an engine of this library.
        EngineFailed: the runtime cannot read the graph.
    """
    _check(engine, precision)
    if engine in RUNTIMES:
        from service.engine.tensorrt import TensorRtEngine

        return TensorRtEngine(graph, runtime=engine, precision=precision)
    if engine == "openvino":
        from service.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(graph, threads=threads, precision=precision)
    from service.engine.onnxruntime import OnnxRuntimeEngine

    device = engine.partition(":")[2] or "cpu"
    return OnnxRuntimeEngine(graph, threads=threads, device=device, precision=precision)


def _check(engine: str, precision: str) -> None:
    """Refuse engines that are unknown or not installed, and precisions that they lack."""
    if engine not in ENGINES:
        raise EngineUnavailable(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS[engine]:
        raise EngineUnavailable(
            f"{engine} computes in {' or '.join(PRECISIONS[engine])}, not {precision}"
        )
    if engine in RUNTIMES:
        require_installed(engine)
        return
    module, _, device = engine.partition(":")
    if find_spec(module) is None:
        extra = "gpu" if device else "cpu"
        raise EngineUnavailable(
            f'{module} is not installed; run `uv sync --extra {extra}`, or set engine = "auto"'
        )


def _choose_precision(manifest: Manifest, engine: str, precision: str) -> str:
    """Return the best precision that passed the gate and that this machine computes well."""
    passed = manifest.precisions.get(engine, ("fp32",))
    _check(engine, "fp32")
    if precision != "auto" and precision not in passed:
        raise EngineUnavailable(
            f"{manifest.name} version {manifest.version} did not pass the parity gate on {engine} "
            f"in {precision}; choose one of {', '.join(passed)}"
        )
    if not passed:
        raise EngineUnavailable(
            f"{manifest.name} version {manifest.version} passed its parity gate on {engine} in no "
            "precision; choose another engine"
        )
    wanted = passed if precision == "auto" else (precision,)
    if engine in RUNTIMES:
        return _choose_built(manifest, engine, wanted)
    if engine == "onnxruntime:cuda":
        _check_cuda_provider()
    usable = [one for one in wanted if one != "bf16" or _computes_bf16(engine)]
    return usable[0] if usable else wanted[-1]


def _choose_built(manifest: Manifest, runtime: str, precisions: tuple[str, ...]) -> str:
    """Return the first precision in which all graphs were built for this GPU and library."""
    if not any(one.runtime == runtime for one in manifest.engines):
        raise EngineUnavailable(
            f"{manifest.name} version {manifest.version} has no {runtime} engine; build one with "
            f"`ethostream export FOLDER_OF_THE_BUNDLE --engine {runtime}`"
        )
    # Only now: the library takes 230 MB, and most bundles on most machines do without.
    version, gpu = load_library(runtime).version, find_gpu()
    refusal = None
    for precision in precisions:
        try:
            for graph in manifest.graph_names:
                built_engine(
                    manifest,
                    graph,
                    runtime=runtime,
                    precision=precision,
                    runtime_version=version,
                    gpu=gpu,
                )
        except EngineUnavailable as error:
            refusal = refusal or error
        else:
            return precision
    assert refusal is not None, "a bundle has passed in one precision at least"
    raise refusal


def _check_cuda_provider() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise EngineUnavailable(
            "this ONNX Runtime is the one for the CPU; run `uv sync --extra gpu` (in place of the "
            "extra cpu) for the one with CUDA"
        )
    find_gpu()
    if failure := find_load_failure("cuda"):
        raise EngineUnavailable(
            f"ONNX Runtime's provider for CUDA cannot be loaded ({failure}); run `uv sync --extra "
            "gpu`, which brings CUDA and cuDNN"
        )


def _computes_bf16(engine: str) -> bool:
    if engine != "openvino":
        return False
    from service.engine.openvino import cpu_computes_bf16

    return cpu_computes_bf16()

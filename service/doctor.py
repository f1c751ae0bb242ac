"""What this machine has for serving, what is missing, and the command that brings it."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from service.bundle import find_bundles, read_bundle
from service.engine import choose_engine, default_threads, load_graph
from service.engine.cuda import find_gpu
from service.engine.gpu_memory import create_shared_memory
from service.engine.provider_library import find_load_failure
from service.engine.tensorrt_library import (
    RUNTIMES,
    install_command,
    is_installed,
    load_library,
)
from service.errors import EngineFailed, EngineUnavailable, EthostreamError
from service.graph_inputs import example_inputs
from service.video.ladder import DALI_CPU_CODECS
from service.video.nvdec import find_capability, find_nvdec

State = Literal["ok", "missing", "failed"]
_LAB_CODECS = ("h264", "hevc", "mjpeg", "vp9", "ffv1", "mpeg4", "huffyuv", "av1")
_GPU_CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mjpeg")
_SOFTWARE_DECODERS = {"av1": "libdav1d"}
"""Codecs whose decoder of the same name works with a GPU only."""
_GPU_QUERY_SECONDS = 10  # nvidia-smi can hang where the driver is broken


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    part: str
    name: str
    state: State
    detail: str
    fix: str = ""
    """The command that mends it; empty where nothing needs to be done."""
    needed: bool = False
    """True where the service cannot run on this machine without it."""


def examine(models: Path) -> list[Check]:
    """Examine this machine and try every bundle below `models` on the engine that serves it."""
    return [
        *_machine(),
        *_gpu(),
        *_engines(),
        *_decoders(),
        *_training(),
        *_bundles(models),
    ]


def can_serve(checks: list[Check]) -> bool:
    """Say whether everything that the service needs is in order."""
    return all(check.state == "ok" for check in checks if check.needed)


def _machine() -> Iterator[Check]:
    cores = f"{default_threads()} of {os.cpu_count()} processors"
    yield Check("machine", "processor", "ok", f"{_processor_name()}, {cores}")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Check("machine", "memory", "ok", f"{memory_bytes / 2**30:.1f} GiB")
    yield Check("machine", "python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _gpu() -> Iterator[Check]:
    if shutil.which("nvidia-smi") is None:
        yield Check("GPU", "nvidia-smi", "missing", "no NVIDIA driver; the CPU serves")
        return
    fields = "--query-gpu=name,driver_version,memory.total"
    command = ["nvidia-smi", fields, "--format=csv,noheader"]
    try:
        listed = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_GPU_QUERY_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Check("GPU", "nvidia-smi", "failed", f"{error}; reinstall the NVIDIA driver")
        return
    if listed.returncode:
        yield Check("GPU", "nvidia-smi", "failed", listed.stderr.strip() or listed.stdout.strip())
        return
    for line in listed.stdout.strip().splitlines():
        yield Check("GPU", "device", "ok", line)
    try:  # as engines see it: nvidia-smi also shows GPUs whose driver is too old for them
        yield Check("GPU", "CUDA", "ok", str(find_gpu()))
    except EngineUnavailable as error:
        yield Check("GPU", "CUDA", "failed", str(error))
        return
    try:
        _, descriptor = create_shared_memory(1)
        os.close(descriptor)
        yield Check("GPU", "shared memory", "ok", "what DALI decodes stays on the GPU")
    except EngineFailed as error:
        reason = f"what DALI decodes comes through the host: {error}"
        yield Check("GPU", "shared memory", "missing", reason)


def _engines() -> Iterator[Check]:
    cpu = "uv sync --extra cpu"
    openvino = _package("engine", "openvino", "openvino", cpu)
    # `auto` takes OpenVINO wherever it is installed, so that one then has to work.
    is_default = openvino.state != "missing"
    yield replace(openvino, needed=is_default)
    yield _package("engine", "onnxruntime", "onnxruntime", cpu, needed=not is_default)
    if openvino.state == "ok":
        from service.engine.openvino import cpu_computes_bf16

        has_bf16 = cpu_computes_bf16()
        detail = (
            "computed by this processor"
            if has_bf16
            else "not here; fp32 serves, about half as fast"
        )
        yield Check("engine", "bf16", "ok" if has_bf16 else "missing", detail)
    yield _cuda_provider()
    yield _package("engine", "cuda.bindings", "cuda-bindings", "uv pip install cuda-bindings")
    for runtime in RUNTIMES:
        yield _tensorrt(runtime)


def _cuda_provider() -> Check:
    """Look for ONNX Runtime on GPUs: it is another package that brings the same module."""
    name = "onnxruntime:cuda"
    try:
        import onnxruntime
    except ImportError as error:
        return Check("engine", name, "missing", str(error), "uv sync --extra gpu")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        detail = "the ONNX Runtime that is installed is the one for the CPU"
        return Check("engine", name, "missing", detail, "uv sync --extra gpu")
    found = f"onnxruntime-gpu {onnxruntime.__version__}"
    if failure := find_load_failure("cuda"):
        is_driver = failure.startswith(("libcuda.", "nvcuda."))
        fix = "install an NVIDIA driver" if is_driver else "uv sync --extra gpu"
        return Check("engine", name, "failed", f"{found} cannot be loaded: {failure}", fix)
    return Check("engine", name, "ok", found)


def _tensorrt(runtime: str) -> Check:
    """Load TensorRT or TensorRT-RTX: its libraries are large and may lack one of their own."""
    install = install_command(runtime)
    if not is_installed(runtime):
        return Check("engine", runtime, "missing", "not installed", install)
    try:
        return Check("engine", runtime, "ok", load_library(runtime).version)
    except EngineUnavailable as error:
        return Check("engine", runtime, "failed", str(error), f"{install} --reinstall")


def _decoders() -> Iterator[Check]:
    pyav = _package("decoder", "av", "av", "uv sync --extra cpu", needed=True)
    yield pyav
    if pyav.state == "ok":
        readable = [name for name in _LAB_CODECS if _decodes(name)]
        absent = sorted(set(_LAB_CODECS) - set(readable))
        yield Check(
            "decoder",
            "codecs",
            "ok" if not absent else "missing",
            ", ".join(readable) + (f"; not: {', '.join(absent)}" if absent else ""),
        )
    # The bindings of the GPU decoders need a driver to be imported, so they are only looked for.
    dali = _package(
        "decoder", "nvidia.dali", "nvidia-dali-cuda130", "uv sync --extra gpu", load=False
    )
    nvcodec = _package(
        "decoder", "PyNvVideoCodec", "pynvvideocodec", "uv sync --extra gpu", load=False
    )
    no_gpu = find_nvdec()
    if dali.state == "ok":
        on_cpu = f"{', '.join(DALI_CPU_CODECS)} on the CPU: {no_gpu}"
        dali = replace(dali, detail=f"{dali.detail}; {on_cpu if no_gpu else _hardware()}")
    if nvcodec.state == "ok" and no_gpu:
        nvcodec = replace(nvcodec, state="missing", detail=no_gpu, fix="install an NVIDIA driver")
    yield dali
    yield nvcodec


def _hardware() -> str:
    """What the GPU decodes, and by how many units."""
    found = [find_capability(codec) for codec in _GPU_CODECS]
    decoded = [one.codec for one in found if one is not None and one.is_decoded]
    units = max((one.units for one in found if one is not None), default=0)
    return f"{', '.join(decoded)} on the GPU, {units} units" if units else "on the GPU"


def _training() -> Iterator[Check]:
    train = "uv sync --extra cpu --extra train"
    yield _package("training", "torch", "torch", train, load=False)  # takes seconds to import


def _bundles(models: Path) -> Iterator[Check]:
    try:
        found = find_bundles(models)
    except EthostreamError as error:
        yield Check("bundle", str(models), "failed", str(error), needed=True)
        return
    if not found:
        detail = "no <name>/<version>/bundle.json in it; name another folder with --models"
        yield Check("bundle", str(models), "missing", detail, needed=True)
    for name, versions in found.items():
        for number, folder in sorted(versions.items()):
            yield _try_bundle(f"{name}@{number}", folder)


def _try_bundle(label: str, folder: Path) -> Check:
    """Read a bundle, load its graphs and compute one row of each."""
    try:
        bundle = read_bundle(folder)
        manifest = bundle.manifest
        engine, precision = choose_engine(manifest, "auto", "auto")
        for graph in manifest.graph_names:
            loaded = load_graph(
                bundle, graph, engine=engine, precision=precision, threads=default_threads()
            )
            loaded.run(example_inputs(manifest, graph, 1))
    except (EthostreamError, ImportError, RuntimeError) as error:
        return Check("bundle", label, "failed", str(error), needed=True)
    built = sorted({f"{one.runtime} {one.runtime_version} ({one.gpu})" for one in manifest.engines})
    detail = f"{manifest.task}, {engine} in {precision}"
    detail += f"; engines built: {', '.join(built)}" if built else ""
    return Check("bundle", label, "ok", detail, needed=True)


def _package(
    part: str, module: str, package: str, fix: str, *, needed: bool = False, load: bool = True
) -> Check:
    """Look for a package, and import it where `load` is true: a library may be missing."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None:
        return Check(part, package, "missing", "not installed", fix, needed)
    if load:
        try:
            import_module(module)
        except ImportError as error:
            again = f"{fix} --reinstall-package {package}"
            return Check(part, package, "failed", f"cannot be imported: {error}", again, needed)
    try:
        return Check(part, package, "ok", version(package), needed=needed)
    except PackageNotFoundError:  # onnxruntime, where onnxruntime-gpu brings the module
        return Check(part, package, "ok", "installed", needed=needed)


def _decodes(codec: str) -> bool:
    import av

    try:
        av.Codec(_SOFTWARE_DECODERS.get(codec, codec), "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _processor_name() -> str:
    """Name of the processor; only its family where the system tells no more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

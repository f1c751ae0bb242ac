"""What this machine has for serving, what is missing, and the command that brings it."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from service.bundle import find_bundles, read_bundle
from service.engine import choose_engine, create_engine, default_threads
from service.errors import EthostreamError

State = Literal["ok", "missing", "failed"]
_LAB_CODECS = ("h264", "hevc", "mjpeg", "vp9", "ffv1", "mpeg4", "huffyuv", "av1")


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
    yield Check("machine", "processor", "ok", f"{platform.machine()}, {cores}")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Check("machine", "memory", "ok", f"{memory_bytes / 2**30:.1f} GiB")
    yield Check("machine", "python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _gpu() -> Iterator[Check]:
    if shutil.which("nvidia-smi") is None:
        yield Check("GPU", "nvidia-smi", "missing", "no NVIDIA driver; the CPU serves")
        return
    fields = "--query-gpu=name,driver_version,memory.total"
    listed = subprocess.run(
        ["nvidia-smi", fields, "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        yield Check("GPU", "nvidia-smi", "failed", listed.stderr.strip() or listed.stdout.strip())
    for line in listed.stdout.strip().splitlines():
        yield Check("GPU", "device", "ok", line)


def _engines() -> Iterator[Check]:
    cpu = "uv sync --extra cpu"
    yield _package("engine", "onnxruntime", "onnxruntime", cpu, needed=not find_spec("openvino"))
    yield _package("engine", "openvino", "openvino", cpu)
    if find_spec("openvino"):
        from service.engine.openvino import cpu_computes_bf16

        has_bf16 = cpu_computes_bf16()
        detail = (
            "computed by this processor"
            if has_bf16
            else "not here; fp32 serves, about half as fast"
        )
        yield Check("engine", "bf16", "ok" if has_bf16 else "missing", detail)
    yield _package("engine", "tensorrt", "tensorrt-cu13", "uv sync --extra gpu --extra tensorrt")


def _decoders() -> Iterator[Check]:
    yield _package("decoder", "av", "av", "uv sync --extra cpu", needed=True)
    if find_spec("av"):
        import av

        readable = [name for name in _LAB_CODECS if name in av.codecs_available]
        absent = sorted(set(_LAB_CODECS) - set(readable))
        yield Check(
            "decoder",
            "codecs",
            "ok" if not absent else "missing",
            ", ".join(readable) + (f"; not: {', '.join(absent)}" if absent else ""),
        )
    gpu = "uv sync --extra gpu"
    yield _package("decoder", "nvidia.dali", "nvidia-dali-cuda130", gpu)
    yield _package("decoder", "PyNvVideoCodec", "pynvvideocodec", gpu)


def _training() -> Iterator[Check]:
    yield _package("training", "torch", "torch", "uv sync --extra cpu --extra train")


def _bundles(models: Path) -> Iterator[Check]:
    try:
        found = find_bundles(models)
    except EthostreamError as error:
        yield Check("bundle", str(models), "failed", str(error), needed=True)
        return
    if not found:
        yield Check("bundle", str(models), "missing", "no bundle in it", "ethostream export …")
    for name, versions in found.items():
        for number, folder in sorted(versions.items()):
            yield _try_bundle(f"{name}@{number}", folder)


def _try_bundle(label: str, folder: Path) -> Check:
    """Read a bundle and load its graphs; a pose bundle also computes one frame."""
    try:
        bundle = read_bundle(folder)
        manifest = bundle.manifest
        engine, precision = choose_engine(manifest, "auto", "auto")
        for graph in manifest.graphs:
            loaded = create_engine(
                bundle.graph_path(graph),
                engine=engine,
                precision=precision,
                threads=default_threads(),
            )
            if manifest.task == "pose":
                size = manifest.input
                frame = np.zeros((1, size.height_px, size.width_px, size.channels), np.uint8)
                loaded.run({"frames": frame})
    except (EthostreamError, RuntimeError) as error:
        return Check("bundle", label, "failed", str(error), needed=True)
    return Check("bundle", label, "ok", f"{manifest.task}, {engine} in {precision}", needed=True)


def _package(part: str, module: str, package: str, fix: str, *, needed: bool = False) -> Check:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        spec = None
    if spec is None:
        return Check(part, package, "missing", "not installed", fix, needed)
    try:
        return Check(part, package, "ok", version(package), needed=needed)
    except PackageNotFoundError:
        return Check(part, package, "ok", "installed", needed=needed)

"""Chooses among the engines that were built ahead from a bundle's graphs the one for this GPU."""

from service.bundle import EngineEntry, Manifest
from service.engine.cuda import Gpu
from service.errors import EngineUnavailable


def built_engine(
    manifest: Manifest,
    graph: str,
    *,
    runtime: str,
    precision: str,
    runtime_version: str,
    gpu: Gpu,
) -> EngineEntry:
    """Return the engine of `graph` that the library of this version runs on `gpu`.

    Args:
        manifest: the bundle.
        graph: name of the graph.
        runtime: tensorrt or tensorrt-rtx.
        precision: fp32, fp16 or int8.
        runtime_version: version of the library that is installed.
        gpu: the GPU that it will run on.

    Raises:
        EngineUnavailable: there is none; the message says what there is and how to build one.
    """
    name = f"{manifest.name} version {manifest.version}"
    flags = f"--engine {runtime} --precision {precision}"
    build = f"build one with `ethostream export FOLDER_OF_THE_BUNDLE {flags}`"
    candidates = [
        one
        for one in manifest.engines
        if (one.runtime, one.precision, one.graph) == (runtime, precision, graph)
    ]
    if not candidates:
        raise EngineUnavailable(
            f"{name} has no {runtime} engine of {graph} in {precision}; {build}"
        )
    same_version = [one for one in candidates if one.runtime_version == runtime_version]
    if not same_version:
        versions = ", ".join(sorted({one.runtime_version for one in candidates}))
        raise EngineUnavailable(
            f"the {runtime} engines of {graph} of {name} were built with version {versions}, but "
            f"version {runtime_version} is installed, which cannot read them; {build}"
        )
    for one in same_version:
        if fits(one, gpu):
            return one
    gpus = "; ".join(sorted({one.gpu for one in same_version}))
    raise EngineUnavailable(
        f"the {runtime} engines of {graph} of {name} were built for {gpus}, but this machine has "
        f"{gpu}; {build}"
    )


def fits(entry: EngineEntry, gpu: Gpu) -> bool:
    """Say whether an engine was built for this GPU.

    TensorRT chooses kernels by measuring on one model of GPU, so that name and compute capability
    must agree; TensorRT-RTX names the compute capabilities that it was built for.
    """
    if entry.runtime == "tensorrt":
        return entry.gpu == str(gpu)
    return gpu.compute_capability in entry.gpu.split()

"""Builds an engine from one ONNX graph, the same way with TensorRT and with TensorRT-RTX.

The networks are strongly typed: what is computed in which type stands in the graph. Each batch
size is an optimization profile of its own, so that its kernels are chosen for it alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.engine.base import TensorSpec
from service.engine.cache import cache_folder
from service.engine.cuda import find_gpu
from service.engine.tensorrt_library import Library, load_library
from service.errors import BundleInvalid, EngineFailed
from service.results.atomic import replacing

RTX_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_120")
"""GPUs that a TensorRT-RTX engine is built for: Ampere, Ada and Blackwell, its own default."""

_WORKSPACE_BYTES = 4 << 30
"""Memory of the GPU that TensorRT may try kernels in: a server may be running beside the build."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine as the library serialized it, and what it is."""

    plan: bytes
    runtime: str
    runtime_version: str
    gpu: str
    """As `EngineEntry.gpu` states it."""
    batch_sizes: tuple[int, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def build_engine(graph: Path, profiles: Mapping[int, Shapes], *, runtime: str) -> BuiltEngine:
    """Build the engine of one graph.

    Args:
        graph: an ONNX file whose axis 0 is the batch; types are taken as they stand.
        profiles: the shapes of all inputs by name, for each batch size.
        runtime: tensorrt, for the GPU of this machine; or tensorrt-rtx, for `RTX_TARGETS`, which
            needs no GPU.

    Raises:
        EngineUnavailable: the library is not installed, or TensorRT finds no GPU.
        BundleInvalid: the library cannot read the graph, or its inputs have other names or shapes.
        EngineFailed: the library could not build the engine.
    """
    library = load_library(runtime)
    gpu = " ".join(RTX_TARGETS) if library.is_rtx else str(find_gpu())
    logger = library.logger()
    builder = library.api.Builder(logger)
    flag = library.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    _parse(library, network, logger, graph)
    config = builder.create_builder_config()
    # fp32 is to mean fp32: the parity gate knows no TF32.
    config.clear_flag(library.api.BuilderFlag.TF32)
    for shapes in profiles.values():
        _add_profile(builder, config, network, shapes, graph)
    cache = None
    if library.is_rtx:
        config.num_compute_capabilities = len(RTX_TARGETS)
        for number, target in enumerate(RTX_TARGETS):
            one = getattr(library.api.ComputeCapability, target.replace("_", "").upper())
            config.set_compute_capability(one, number)
    else:
        workspace = library.api.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(workspace, _WORKSPACE_BYTES)
        cache = cache_folder("tensorrt") / f"{library.version}-{gpu.replace(' ', '-')}.timing"
        _read_timing_cache(config, cache)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise EngineFailed(
            f"{library.title} {library.version} could not build an engine of {graph.name}: "
            f"{'; '.join(logger.messages) or 'it gives no reason'}"
        )
    if cache is not None:
        _write_timing_cache(config, cache)
    return BuiltEngine(
        plan=bytes(serialized),
        runtime=runtime,
        runtime_version=library.version,
        gpu=gpu,
        batch_sizes=tuple(profiles),
        inputs=tuple(
            _spec(library, network.get_input(number)) for number in range(network.num_inputs)
        ),
        outputs=tuple(
            _spec(library, network.get_output(number)) for number in range(network.num_outputs)
        ),
    )


def _parse(library: Library, network: Any, logger: Any, graph: Path) -> None:
    parser = library.api.OnnxParser(network, logger)
    if parser.parse_from_file(str(graph)):
        return
    errors = "; ".join(str(parser.get_error(number)) for number in range(parser.num_errors))
    raise BundleInvalid(
        f"{library.title} {library.version} cannot read the graph {graph.name} ({errors}); serve "
        "it with ONNX Runtime or OpenVINO, or export a graph without these operators"
    )


def _add_profile(builder: Any, config: Any, network: Any, shapes: Shapes, graph: Path) -> None:
    profile = builder.create_optimization_profile()
    taken = [network.get_input(number) for number in range(network.num_inputs)]
    if {one.name for one in taken} != shapes.keys():
        raise BundleInvalid(
            f"{graph.name} takes {', '.join(one.name for one in taken)}, but the bundle's section "
            f"says {', '.join(shapes)}; export the bundle again"
        )
    for tensor in taken:
        shape = shapes[tensor.name]
        axes = tuple(tensor.shape)
        fits = all(size in (-1, wanted) for size, wanted in zip(axes, shape, strict=False))
        if len(axes) != len(shape) or not fits:
            raise BundleInvalid(
                f"{graph.name} takes {tensor.name} as {axes}, but the bundle's section says "
                f"{shape}; export the bundle again"
            )
        profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)


def _read_timing_cache(config: Any, path: Path) -> None:
    """Let the builder reuse measurements of earlier builds; a cache that does not fit is left."""
    known = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _write_timing_cache(config: Any, path: Path) -> None:
    with replacing(path) as unfinished:
        unfinished.write_bytes(bytes(config.get_timing_cache().serialize()))


def _spec(library: Library, tensor: Any) -> TensorSpec:
    shape = tuple(size if size >= 0 else None for size in tuple(tensor.shape))
    return TensorSpec(tensor.name, np.dtype(library.api.nptype(tensor.dtype)), shape)

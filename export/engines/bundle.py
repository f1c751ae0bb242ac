"""Builds the engines of a bundle and enters them into its bundle.json, while others may read it."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec

from export.engines.builder import BuiltEngine, build_engine
from service.bundle import (
    Bundle,
    EngineEntry,
    Manifest,
    describe_file,
    file_sha256,
    read_bundle,
    write_manifest,
)
from service.errors import BundleInvalid, EngineUnavailable, InvalidConfig
from service.graph_inputs import BATCH_SIZES, example_inputs

_LOCK = ".building"


def build_engines(
    directory: Path,
    *,
    runtime: str,
    precision: str = "fp32",
    batch_sizes: Sequence[int] = BATCH_SIZES,
    report: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Build an engine of each graph of the bundle in `directory` and return the bundle with them.

    Files are new ones and bundle.json is replaced at once, so that a server that reads the folder
    meanwhile finds the bundle before or after. Files of engines that an earlier build replaced are
    removed when the next one begins. What the parity gate said of an earlier build is forgotten.

    Args:
        directory: folder of a bundle.
        runtime: tensorrt or tensorrt-rtx.
        precision: fp32; fp16, which is made of the fp32 graph; or int8 where the bundle has such
            graphs.
        batch_sizes: numbers of rows, one optimization profile each.
        report: takes a line for people after each engine.

    Raises:
        BundleInvalid: the bundle is damaged, or the library cannot read a graph of it.
        EngineUnavailable: the library is not installed, or TensorRT finds no GPU.
        EngineFailed: the library could not build an engine.
        InvalidConfig: a batch size or the precision cannot be had, or another build is at work.
    """
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or sizes[0] < 1:
        raise InvalidConfig(f"the batch sizes are {tuple(batch_sizes)}; give whole numbers from 1")
    with _alone(directory):
        manifest = read_bundle(directory).manifest
        if precision == "int8" and not manifest.quantized:
            raise InvalidConfig(
                f"bundle {manifest.name} has no int8 graph, since none passed its parity gate; "
                "build its engines in fp32"
            )
        _remove_unnamed(directory, manifest)
        entries = []
        for graph in manifest.graph_names:
            started = time.monotonic()
            entry = _build(directory, manifest, graph, runtime, precision, sizes)
            entries.append(entry)
            report(
                f"{entry.file.path}: {entry.file.size_bytes / 1e6:.1f} MB in "
                f"{time.monotonic() - started:.1f} s, batches {', '.join(map(str, sizes))}, "
                f"{runtime} {entry.runtime_version} for {entry.gpu}"
            )
        new = {_key(one) for one in entries}
        kept = [one for one in manifest.engines if _key(one) not in new]
        # Two builds of one graph differ: what an earlier one passed says nothing of this one.
        judged = manifest.precisions.get(runtime, ())
        passed = {**manifest.precisions, runtime: tuple(x for x in judged if x != precision)}
        if not passed[runtime]:
            del passed[runtime]
        write_manifest(
            directory,
            msgspec.structs.replace(manifest, engines=(*kept, *entries), precisions=passed),
        )
    return read_bundle(directory)


def _build(
    directory: Path,
    manifest: Manifest,
    graph: str,
    runtime: str,
    precision: str,
    batch_sizes: tuple[int, ...],
) -> EngineEntry:
    source = manifest.source(graph, precision)
    profiles = {
        size: {name: array.shape for name, array in example_inputs(manifest, graph, size).items()}
        for size in batch_sizes
    }
    with tempfile.TemporaryDirectory() as folder:
        path = directory / source.path
        if precision != "fp32":
            path = _write_converted(path, Path(folder) / f"{graph}.{precision}.onnx", precision)
        built = build_engine(path, profiles, runtime=runtime)
    if file_sha256(directory / source.path) != source.sha256:
        raise BundleInvalid(
            f"{source.path} of bundle {manifest.name} was changed while its engine was built; "
            "build it again"
        )
    name = f"{graph}.{precision}.{_label(built)}.engine"
    unfinished = directory / f".{name}"
    unfinished.write_bytes(built.plan)
    unfinished.replace(directory / name)
    fields = {
        "runtime": built.runtime,
        "runtime_version": built.runtime_version,
        "gpu": built.gpu,
        "graph": graph,
        "precision": precision,
        "source_sha256": source.sha256,
        "batch_sizes": built.batch_sizes,
        "file": describe_file(directory, name),
    }
    return msgspec.convert(fields, EngineEntry)


def _write_converted(source: Path, path: Path, precision: str) -> Path:
    """Write the graph in the types and the form that a strongly typed engine takes."""
    if find_spec("onnx") is None:
        raise EngineUnavailable(
            f"onnx, which makes {precision} graphs for engines, is not installed; run `uv pip "
            "install onnx`, or build the engine in fp32"
        )
    import onnx

    from export.engines.half import convert_to_half
    from export.engines.symmetric import convert_to_symmetric

    convert = convert_to_half if precision == "fp16" else convert_to_symmetric
    onnx.save(convert(onnx.load(source)), path)
    return path


def _label(built: BuiltEngine) -> str:
    """Name what makes an engine another one, its content last: no build overwrites a file."""
    gpu = "" if built.runtime == "tensorrt-rtx" else "." + built.gpu.replace(" ", "-")
    digest = hashlib.sha256(built.plan).hexdigest()[:8]
    return f"{built.runtime}-{built.runtime_version}{gpu}.{digest}"


def _key(entry: EngineEntry) -> tuple[str, ...]:
    return (entry.runtime, entry.runtime_version, entry.gpu, entry.graph, entry.precision)


def _remove_unnamed(directory: Path, manifest: Manifest) -> None:
    named = {one.file.path for one in manifest.engines}
    for path in (*directory.glob("*.engine"), *directory.glob(".*.engine")):
        if path.name not in named:
            path.unlink()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep a second build out of the folder: each would lose the other's entries."""
    lock = directory / _LOCK
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError as error:
        raise InvalidConfig(
            f"another build is at work in {directory}; if none is, one was killed: delete {lock}"
        ) from error
    except FileNotFoundError as error:
        raise BundleInvalid(f"{directory} does not exist; name the folder of a bundle") from error
    os.close(descriptor)
    try:
        yield
    finally:
        lock.unlink()

"""`ethostream export`: a run to a bundle, a bundle to engines and to a repository of Triton."""

import argparse
import logging
import os
import tempfile
from importlib import import_module
from pathlib import Path

SUMMARY = "export a training run as a bundle, behind its parity gate; build engines; Triton"

_DESCRIPTION = """\
RUN is exported as a bundle behind its parity gate. With --engine, engines for NVIDIA GPUs are then
built from the bundle's graphs; to add them to a bundle that exists, name its folder in place of
RUN. A running server takes them up when it is told to load the bundle again
(`ethostream models load NAME`).

With --data (of a run: always) the new engines are then judged on the held-out frames by the parity
gate, which needs their GPU. In fp32 they are served unless they fail it; in fp16 and int8 they are
served only once they passed.

TensorRT builds for the GPU of this machine and this version of the library; TensorRT-RTX builds on
any machine, for GPUs from the RTX 30 series on (compute capabilities 8.0, 8.6, 8.9 and 12.0).

With --triton the graphs are written as a model repository of NVIDIA's Triton Inference Server, too:
of ONNX Runtime, in fp32 and, where it passed the gate, int8. What a client has to do around them
is in the README.md beside them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a training run, or of a bundle"
    )
    parser.add_argument("--out", type=Path, help="of a run: model folder, <name>/<version>/")
    parser.add_argument("--name", help="of a run: name of the bundle")
    parser.add_argument("--version", type=int, help="version from 1; the next free one if absent")
    parser.add_argument("--replace", action="store_true", help="overwrite that version")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="*",
        default=[],
        help="labelled data, where it is no longer at the path that it was trained from",
    )
    parser.add_argument(
        "--animals",
        type=int,
        help="pose: answer this many local maxima of each keypoint; as many as labelled if absent",
    )
    parser.add_argument(
        "--no-int8", action="store_true", help="of a run: export in floating point alone"
    )
    parser.add_argument("--description", default="", help="one sentence for lists of models")
    parser.add_argument("--license", default="not stated", help="license of the weights")
    parser.add_argument(
        "--about", type=Path, help="Markdown file for the card: sources, licenses, intended use"
    )
    parser.add_argument(
        "--engine", choices=("tensorrt", "tensorrt-rtx"), help="build engines with this library"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="of the engines"
    )
    parser.add_argument(
        "--triton", type=Path, metavar="FOLDER", help="write a new model repository of Triton here"
    )
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        metavar="ROWS",
        help="batches that engines are built for; those of the server (1 2 4 8) if absent",
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, build, and print where everything is."""
    from service.errors import InvalidConfig

    directory = arguments.run
    if not (directory / "bundle.json").is_file():
        directory = _export(arguments)
    elif arguments.out is not None or arguments.name is not None:
        raise InvalidConfig(f"{directory} is a bundle; give neither --out nor --name")
    elif arguments.engine is None and arguments.triton is None:
        raise InvalidConfig(
            f"{directory} is a bundle; give --engine to build its engines, or --triton to write it "
            "for Triton"
        )
    if arguments.triton is not None:
        _write_for_triton(directory, arguments.triton)
    if arguments.engine is None:
        return 0
    return _build(directory, arguments)


def _write_for_triton(directory: Path, out: Path) -> None:
    from export.triton.repository import write_triton_repository
    from service.bundle import read_bundle

    models = write_triton_repository(read_bundle(directory), out)
    print(f"{out}: {', '.join(one.name for one in models)}; see {out / 'README.md'}", flush=True)


def _build(directory: Path, arguments: argparse.Namespace) -> int:
    """Build, and judge where there is data; 1 where the gate was failed."""
    from export.engines.bundle import build_engines
    from service.errors import EngineUnavailable
    from service.graph_inputs import BATCH_SIZES

    if hasattr(os, "nice"):
        os.nice(10)  # a server may be at work beside it
    build_engines(
        directory,
        runtime=arguments.engine,
        precision=arguments.precision,
        batch_sizes=arguments.batch_sizes or BATCH_SIZES,
        report=lambda line: print(line, flush=True),
    )
    data = arguments.data or _trained_with(arguments.run)
    label = f"{arguments.engine} in {arguments.precision}"
    if not data:
        print(f"{label} was not judged by the parity gate: give --data")
        return 0
    from export.engines.gate import gate_engine

    try:
        row = gate_engine(directory, data, engine=arguments.engine, precision=arguments.precision)
    except EngineUnavailable as error:
        print(f"{label} was not judged by the parity gate: {error}")
        return 0
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.figures.items())
    passed = "passed" if row.passed else "failed and is not served"
    print(f"{label} {passed}: {figures}; most of all in {row.worst_frame or 'no frame'}")
    return 0 if row.passed else 1


def _trained_with(folder: Path) -> list[Path]:
    """Return the data of a run; none of a bundle, which does not say where it lay."""
    if (folder / "bundle.json").is_file():
        return []
    from training.runs import open_run

    run = open_run(folder)
    module = {"pose": "training.pose.trained", "behavior": "training.behavior.stages"}[run.task]
    return [Path(one) for one in import_module(module).read_settings(run).data]


def _export(arguments: argparse.Namespace) -> Path:
    """Export a run and return the bundle's folder."""
    from export.write_bundle import (
        LARGEST_BUNDLE_BYTES,
        bundle_size_bytes,
        choose_version,
        write_bundle,
    )
    from service.errors import InvalidConfig
    from training.runs import open_run

    if arguments.out is None or arguments.name is None:
        raise InvalidConfig(
            f"{arguments.run} is no bundle; to export a run give --out (model folder) and --name"
        )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    training_run = open_run(arguments.run)
    version = choose_version(
        arguments.out, arguments.name, version=arguments.version, replace=arguments.replace
    )
    draft_bundle = import_module(f"export.{training_run.task}").draft_bundle
    options = {}
    if arguments.animals is not None:
        if training_run.task != "pose" or arguments.animals < 1:
            raise InvalidConfig(
                f"--animals {arguments.animals} of a {training_run.task} run; give at least 1, "
                "for pose runs only"
            )
        options["animals"] = arguments.animals
    about = arguments.about.read_text(encoding="utf-8") if arguments.about else ""
    with tempfile.TemporaryDirectory() as folder:
        draft = draft_bundle(
            training_run,
            Path(folder),
            data=arguments.data,
            description=arguments.description,
            license=arguments.license,
            about=about,
            int8=not arguments.no_int8,
            **options,
        )
        bundle = write_bundle(
            arguments.out, arguments.name, draft, version=version, replace=arguments.replace
        )
    size_bytes = bundle_size_bytes(bundle)
    passed = (
        f"{engine} in {', '.join(precisions)}"
        for engine, precisions in bundle.manifest.precisions.items()
    )
    print(f"{bundle.directory}: {size_bytes / 1e6:.2f} MB, for {' and '.join(passed)}")
    if size_bytes > LARGEST_BUNDLE_BYTES:
        print(f"larger than {LARGEST_BUNDLE_BYTES / 1e6:.0f} MB: too large to ship in a repository")
    return bundle.directory

"""`ethostream export`: a training run to a bundle that the service loads."""

import argparse
import logging
import tempfile
from importlib import import_module
from pathlib import Path

SUMMARY = "export a training run as a bundle, behind its parity gate"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("--out", type=Path, required=True, help="model folder, <name>/<version>/")
    parser.add_argument("--name", required=True, help="name of the bundle")
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
    parser.add_argument("--description", default="", help="one sentence for lists of models")
    parser.add_argument("--license", default="not stated", help="license of the weights")
    parser.add_argument(
        "--about", type=Path, help="Markdown file for the card: sources, licenses, intended use"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export and print where the bundle is."""
    from export.write_bundle import (
        LARGEST_BUNDLE_BYTES,
        bundle_size_bytes,
        choose_version,
        write_bundle,
    )
    from service.errors import InvalidConfig
    from training.runs import open_run

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
            **options,
        )
        bundle = write_bundle(
            arguments.out, arguments.name, draft, version=version, replace=arguments.replace
        )
    size_bytes = bundle_size_bytes(bundle)
    print(f"{bundle.directory}: {size_bytes / 1e6:.2f} MB, precisions {bundle.manifest.precisions}")
    if size_bytes > LARGEST_BUNDLE_BYTES:
        print(f"larger than {LARGEST_BUNDLE_BYTES / 1e6:.0f} MB: too large to ship in a repository")
    return 0

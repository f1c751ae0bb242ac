"""`ethostream evaluate`: a bundle's error on labelled data, through the engines that serve."""

import argparse
import json
from importlib import import_module
from pathlib import Path

SUMMARY = "measure a bundle on labelled data"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder with a bundle.json")
    parser.add_argument(
        "data", nargs="+", type=Path, metavar="DATA", help="folder of a labelled project"
    )
    parser.add_argument(
        "--part",
        choices=("test", "all"),
        default="test",
        help="test: what the bundle's split.json kept from training; all: every labelled sample",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "onnxruntime", "openvino"),
        default="auto",
        help="what computes the graphs",
    )
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="arithmetic"
    )
    parser.add_argument("--threads", type=int, help="processor threads; all if absent")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the figures."""
    from service.bundle import read_bundle
    from service.engine import default_threads

    bundle = read_bundle(arguments.bundle)
    evaluator = f"training.{bundle.manifest.task}.evaluate"
    figures = import_module(evaluator).evaluate_bundle(
        bundle,
        arguments.data,
        part=arguments.part,
        engine=arguments.engine,
        precision=arguments.precision,
        threads=arguments.threads or default_threads(),
    )
    if arguments.json:
        print(json.dumps(figures))
    else:
        _print_table(figures)
    return 0


def _print_table(figures: dict[str, object], indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            print(f"{indent}{name:24s} {shown}")

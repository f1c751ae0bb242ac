"""`ethostream models`: the bundles of a server, or of a folder."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.commands._options import add_server_options, read_access
from service.logs import configure_logs

if TYPE_CHECKING:
    from ethostream import BundleInfo

SUMMARY = "list, show, load and unload bundles"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare list, show, load and unload."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "list all bundles"),
        ("show", "show one bundle with its card and parity report"),
        ("load", "load a version into a running server"),
        ("unload", "take a version out of a running server"),
    ):
        action = actions.add_parser(name, help=text, formatter_class=parser.formatter_class)
        if name != "list":
            action.add_argument("bundle", metavar="NAME[@VERSION]")
        if name in ("list", "show"):
            action.add_argument("--models", type=Path, metavar="DIR", help="a folder of bundles")
        add_server_options(action, "server to ask", default="127.0.0.1:50051")
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Ask the folder or the server and print."""
    models = _from_folder(arguments) if getattr(arguments, "models", None) else _ask(arguments)
    if arguments.json:
        print(json.dumps([asdict(one) for one in models]))
    elif arguments.action == "show":
        _print_one(models[0])
    else:
        _print_table(models)
    return 0


def _from_folder(arguments: argparse.Namespace) -> "list[BundleInfo]":
    import asyncio

    from ethostream.messages import bundle_info

    from service.repository import EngineConfig, Repository
    from service.runtime import parse_bundle
    from service.servicer.bundle_info import from_status

    async def scan() -> "list[BundleInfo]":
        repository = Repository(arguments.models, EngineConfig(), (1,))
        await repository.scan()
        if arguments.action == "list":
            return [bundle_info(from_status(one)) for one in repository.statuses()]
        status = repository.status(*parse_bundle(arguments.bundle))
        return [bundle_info(from_status(status, documents=True))]

    configure_logs("text", "error")
    return asyncio.run(scan())


def _ask(arguments: argparse.Namespace) -> "list[BundleInfo]":
    from ethostream import Client

    token, tls = read_access(arguments)
    with Client(arguments.server, token=token, tls=tls) as client:
        if arguments.action == "list":
            return list(client.models())
        if arguments.action == "show":
            return [client.model(arguments.bundle)]
        if arguments.action == "load":
            return [client.load(arguments.bundle)]
        return list(client.unload(arguments.bundle))


def _print_table(models: "list[BundleInfo]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("bundle", "task", "state", "input", "engine", "answers", "held-out")
    for column in table.columns:
        column.overflow = "fold"
    for one in models:
        names: Sequence[str] = ()
        if one.pose is not None:
            names = one.pose.keypoints
        elif one.behavior is not None:
            names = one.behavior.behaviors
        table.add_row(
            str(one.bundle),
            one.task,
            f"{one.state}: {one.reason}" if one.reason else one.state,
            f"{one.input_width_px}x{one.input_height_px}",
            f"{one.engine} {one.precision}".strip(),
            ", ".join(names),
            ", ".join(f"{name} {value:.3g}" for name, value in sorted(one.metrics.items())),
        )
    Console().print(table)


def _print_one(one: "BundleInfo") -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    _print_table([one])
    console = Console()
    if one.card:
        console.print(Markdown(one.card))
    if one.parity_json:
        _print_parity(json.loads(one.parity_json))


def _print_parity(report: Mapping[str, Any]) -> None:
    """Print PARITY.json: what each engine and precision differs from the trained network by."""
    from rich.console import Console
    from rich.table import Table

    title = f"against {report['reference']} on {report['samples']} held-out frames"
    table = Table("engine", "precision", "gate", "figures", "worst frame", title=title)
    for column in table.columns:
        column.overflow = "fold"
    for row in report["rows"]:
        table.add_row(
            f"{row['engine']} {row['engine_version']}",
            row["precision"],
            "passed" if row["passed"] else "FAILED",
            ", ".join(f"{name} {value:.4g}" for name, value in row["figures"].items()),
            row.get("worst_frame", ""),
        )
    console = Console()
    console.print(table)
    for text in (f"gate: {report['gate']}", report.get("quantization", "")):
        if text:
            console.print(text, markup=False, highlight=False)

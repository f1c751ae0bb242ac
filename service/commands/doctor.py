"""`ethostream doctor`: what this machine has, what is missing, the command that brings it."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from service.commands._shipped import SHIPPED_MODELS

SUMMARY = "say what this machine has for serving, and what is missing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--models",
        type=Path,
        default=SHIPPED_MODELS,
        metavar="DIR",
        help="folder of bundles to try",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; 0 where the service can run here, else 1."""
    from service.doctor import can_serve, examine

    checks = examine(arguments.models)
    able = can_serve(checks)
    if arguments.json:
        print(json.dumps({"can_serve": able, "checks": [asdict(check) for check in checks]}))
        return 0 if able else 1
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("part", "name", "state", "detail", "what brings it")
    colors = {"ok": "green", "missing": "yellow", "failed": "red"}
    for check in checks:
        color = "red" if check.needed and check.state != "ok" else colors[check.state]
        state = f"[{color}]{check.state}[/{color}]"
        texts = (escape(text) for text in (check.detail, check.fix))  # they may hold brackets
        table.add_row(check.part, escape(check.name), state, *texts)
    console = Console()
    console.print(table)
    console.print(
        "This machine can serve."
        if able
        else "[red]This machine cannot serve: see what failed.[/red]"
    )
    return 0 if able else 1

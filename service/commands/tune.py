"""`ethostream tune`: measures this machine and writes the settings that serve it best."""

import argparse
import json
import math
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._options import check_writable
from service.commands._shipped import SHIPPED_MODELS
from service.errors import InvalidRequest

if TYPE_CHECKING:
    from service.tuning.choice import Candidate, Choice
    from service.tuning.launch import Measured

SUMMARY = "find engine, threads, batches and decode workers for a latency on this machine"

_SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what is served, what must be kept, and where the settings go."""
    parser.epilog = (
        "Every engine and precision that works here and passed the bundles' parity gates is timed "
        "with several numbers of threads and batch sizes; the setting that computes the most "
        "frames a second is chosen among those in which a frame alone and the largest batch, "
        "through all bundles, keep the latency. A live frame beside an archive job waits for at "
        "most one such batch. Run it on a machine that does nothing else."
    )
    add = parser.add_argument
    add("--models", type=Path, default=SHIPPED_MODELS, metavar="DIR", help="folder of bundles")
    add(
        "--model",
        nargs="+",
        default=[],
        metavar="NAME[@VERSION]",
        help="bundles that every frame goes through (default: the newest of all)",
    )
    add("--latency-ms", type=float, required=True, metavar="MS", help="that is to be kept")
    add("--out", type=Path, required=True, metavar="FILE.toml", help="settings file to write")
    add("--seconds", type=float, default=0.5, help="of each measurement")
    add("--size", default="640x480", metavar="WxH", help="of the recordings to decode, px")
    add("--json", action="store_true", help="print one line of JSON instead of the table")


def run(arguments: argparse.Namespace) -> int:
    """Measure, choose, write and print why."""
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if size is None:
        raise InvalidRequest(f"--size is {arguments.size!r}; write it as 640x480")
    for option, value in (("latency-ms", arguments.latency_ms), ("seconds", arguments.seconds)):
        if not 0 < value < math.inf:
            raise InvalidRequest(f"--{option} is {value:g}; give a number of more than 0")
    if arguments.out.exists():
        raise InvalidRequest(f"{arguments.out} is there already; give another --out or remove it")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    check_writable(arguments.out)
    from service.logs import configure_logs
    from service.tuning.launch import launch

    configure_logs("text", "warning")
    measured = launch(
        arguments.models,
        arguments.model,
        target_seconds=arguments.latency_ms / 1e3,
        seconds=arguments.seconds,
        size=(int(size[1]), int(size[2])),
        out=arguments.out,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if arguments.json:
        print(json.dumps(_report(measured, arguments.out)))
    else:
        _show(measured, arguments.latency_ms / 1e3)
        print(f"{arguments.out}: start with `ethostream serve --config {arguments.out}`")
    return 0


def _report(measured: "Measured", out: Path) -> dict[str, object]:
    choice: Choice = measured.choice
    return {
        "out": str(out),
        "bundles": [str(one) for one in measured.bundles],
        "chosen": asdict(choice.engine.chosen),
        "reason": choice.engine.reason,
        "decode_workers": choice.workers,
        "decode_reason": choice.workers_reason,
        "timings": [asdict(one) for one in measured.timings],
        "decoding": [asdict(one) for one in measured.decoding],
    }


def _show(measured: "Measured", target_seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    choice = measured.choice
    table = Table("setting", "batch", "one frame", "a batch", "frames/s", "")
    best: list[Candidate] = sorted(measured.candidates, key=lambda one: -one.frames_per_s)
    for one in best[:_SHOWN]:
        note = "" if one.keeps(target_seconds) else "too slow"
        table.add_row(
            f"{one.engine} {one.precision} x{one.threads}",
            str(one.largest_batch),
            f"{one.single_seconds * 1e3:.1f} ms",
            f"{one.largest_seconds * 1e3:.1f} ms",
            f"{one.frames_per_s:.1f}",
            "[green]chosen[/green]" if one == choice.engine.chosen else note,
        )
    console = Console()
    console.print(table)
    console.print(f"{', '.join(map(str, measured.bundles))}: {choice.engine.reason}.")
    console.print(f"Decoding: {choice.workers_reason}.")

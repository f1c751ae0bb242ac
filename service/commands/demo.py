"""`ethostream demo`: a recording through a real server, live and as a file, with all results."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._shipped import SHIPPED_MODELS, SHIPPED_NAMES

if TYPE_CHECKING:  # the command's options must show without loading the client and the plots
    from rich.console import Console

    from service.demo.live_run import LiveRun
    from service.demo.report import VideoSummary
    from service.results import VideoResults

SUMMARY = "show the whole service on one recording, with the shipped bundles"

_SEED = 987_654_323  # far from the seeds that the shipped bundles were trained on
_START_S = 120.0
_DURATION_S = 40.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what to show and where results go."""
    add = parser.add_argument
    add(
        "videos",
        nargs="*",
        type=Path,
        metavar="VIDEO",
        help="recordings to show (default: one is simulated, with its truth)",
    )
    add(
        "--out", type=Path, default=Path("demo-output"), metavar="DIR", help="folder of all results"
    )
    add("--models", type=Path, default=SHIPPED_MODELS, metavar="DIR", help="folder of bundles")
    add(
        "--model",
        action="append",
        metavar="NAME[@VERSION]",
        help=f"bundle to run; repeat for several (default: {' and '.join(SHIPPED_NAMES)})",
    )
    add(
        "--duration",
        type=float,
        metavar="S",
        help=f"of the simulated recording, s (default: {_DURATION_S:g})",
    )
    add("--frame-limit", type=int, default=0, metavar="N", help="frames of each VIDEO; 0: all")
    add(
        "--speed",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="of the live stream; 1: the camera's rate, 0: as fast as the server answers",
    )
    add("--no-overlay", action="store_true", help="do not draw the overlay video")
    add("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Show everything; 0 where each frame was answered once and both ways agree."""
    from rich.console import Console

    from service.logs import configure_logs

    _check(arguments)
    configure_logs("text", "error")
    with _ending_on_sigterm():
        summaries = _show(arguments, Console(stderr=True, quiet=arguments.json))
    text = _to_json(summaries)
    (arguments.out / "summary.json").write_text(text + "\n")
    if arguments.json:
        print(text)
    else:
        _print(summaries, arguments.out)
    return 1 if any(one.problems for one in summaries) else 0


def _check(arguments: argparse.Namespace) -> None:
    import math

    from service.errors import InvalidRequest, VideoNotFound
    from service.paths import check_name

    if not (math.isfinite(arguments.speed) and arguments.speed >= 0):
        raise InvalidRequest(f"--speed is {arguments.speed}; give a number from 0 on")
    if arguments.frame_limit < 0:
        raise InvalidRequest(f"--frame-limit is {arguments.frame_limit}; give a number from 0 on")
    if arguments.videos and arguments.duration is not None:
        raise InvalidRequest("--duration is of the simulated recording; leave it out with a VIDEO")
    if not arguments.videos and arguments.frame_limit:
        raise InvalidRequest("--frame-limit is of a VIDEO; shorten the simulated one by --duration")
    for video in arguments.videos:
        if not video.is_file():
            raise VideoNotFound(f"no file is at {video}; check the path")
        check_name(video.absolute())


def _show(arguments: argparse.Namespace, console: "Console") -> "list[VideoSummary]":
    import asyncio

    from service.demo.pictures import draw_all
    from service.demo.report import summarize
    from service.demo.server_process import start_server
    from service.demo.truth import read_truth
    from service.results import write_results
    from service.results.plan import plan_videos

    planned = plan_videos(arguments.videos, arguments.out) if arguments.videos else ()
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = arguments.model or list(SHIPPED_NAMES)
    log = arguments.out / "server.log"
    analyzed = []
    with start_server(arguments.models, names, log=log) as server:
        if planned:
            videos = [(one.path, one.stem) for one in planned]
        else:
            asked_s = arguments.duration
            duration_s = _DURATION_S if asked_s is None else asked_s
            simulated = _simulate(arguments.out, duration_s, console)
            videos = [(simulated, simulated.stem)]
        with _step(console, "starting the server"):
            address = server.wait_until_serving(_START_S)
        for video, stem in videos:
            work = _analyze(address, video, names, arguments.frame_limit, arguments.speed, console)
            analyzed.append((video, stem, *asyncio.run(work)))
    # The server has ended: drawing has all cores.
    summaries = []
    for video, stem, live_run, live, archive, seconds in analyzed:
        out = arguments.out / stem if len(analyzed) > 1 else arguments.out
        truth = read_truth(video)
        files = write_results(archive, out, stem=stem)
        with _step(console, f"drawing {video.name}", len(archive)) as advance:
            overlay = not arguments.no_overlay
            files += draw_all(video, archive, out, truth=truth, overlay=overlay, on_frame=advance)
        summaries.append(
            summarize(
                video, live_run, live, archive, archive_seconds=seconds, truth=truth, files=files
            )
        )
    return summaries


def _simulate(out: Path, duration_s: float, console: "Console") -> Path:
    from service.simulation import SimulationSettings, simulate, write_recording

    settings = SimulationSettings(duration_s=duration_s, seed=_SEED)
    with _step(console, "simulating a recording", settings.frame_count) as advance:
        files = write_recording(simulate(settings), out / "recording", on_frame=advance)
    return files.video


async def _analyze(
    address: str,
    video: Path,
    names: Sequence[str],
    frame_limit: int,
    speed: float,
    console: "Console",
) -> "tuple[LiveRun, VideoResults, VideoResults, float]":
    """Stream the video live, analyze it as a file; also gives the seconds that the latter took."""
    import asyncio
    import time

    from ethostream import AsyncClient

    from service.commands._analyzers import open_remote
    from service.commands._rig import stream_recording
    from service.jobs.analyzer import Finished, Started
    from service.results import Provenance, RequestOptions, gather_results
    from service.results.provenance import describe_source
    from service.version import program_version
    from service.video.pyav import VideoFile

    source = await asyncio.to_thread(VideoFile, video)
    total = min(source.frames, frame_limit or source.frames)
    options = RequestOptions(frame_limit=frame_limit)
    async with open_remote(AsyncClient(address), names) as facility:
        with _step(console, f"streaming {video.name} as a rig would", total) as advance:
            async with AsyncClient(address) as rig:
                live_run = await stream_recording(
                    rig,
                    source,
                    facility.bundles,
                    frame_limit=frame_limit,
                    speed=speed,
                    on_frame=advance,
                )
        chunks, bundles, info, message = [], facility.bundles, source.info, ""
        with _step(console, f"analyzing {video.name} as a facility would", total) as advance:
            began, rows = time.perf_counter(), 0
            async for event in facility.analyze(video, options):
                if isinstance(event, Started):
                    bundles, info = event.bundles, event.info
                elif isinstance(event, Finished):
                    message = event.message
                else:
                    chunks.append(event)
                    rows += len(event.frame_index)
                    advance(rows)
            seconds = time.perf_counter() - began
    provenance = Provenance(
        ethostream=program_version(),
        source=await asyncio.to_thread(describe_source, video),
        info=info,
        bundles=bundles,
        options=options,
        message=message,
    )
    live = gather_results(provenance, [live_run.rows])
    return live_run, live, gather_results(provenance, chunks), seconds


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise: it would end this process without the server that it started."""
    import signal
    import sys

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _to_json(summaries: "Sequence[VideoSummary]") -> str:
    import msgspec

    passed = not any(one.problems for one in summaries)
    return json.dumps({"passed": passed, "videos": msgspec.to_builtins(list(summaries))}, indent=2)


def _print(summaries: "Sequence[VideoSummary]", out: Path) -> None:
    from rich.console import Console

    from service.demo.report import summary_table

    console = Console()
    for one in summaries:
        console.print(summary_table(one))
        if one.note:
            console.print(f"The file: {one.note}")
        for problem in one.problems:
            console.print(f"[bold red]PROBLEM[/] {problem}")
        if not one.problems:
            console.print(
                "Every frame was answered exactly once and in order; live and archive agree."
            )
    console.print(f"Results, overlay video and plots are in {out}.")


@contextmanager
def _step(
    console: "Console", text: str, total: int | None = None
) -> "Iterator[Callable[[int], None]]":
    """Show a step with its progress; gives a function that takes how far it is."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    counts = (BarColumn(), MofNCompleteColumn()) if total else (SpinnerColumn(),)
    columns = (TextColumn("{task.description}", markup=False), *counts, TimeElapsedColumn())
    if not console.is_terminal:
        console.print(f"{text} ...", markup=False)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)

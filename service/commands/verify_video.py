"""`ethostream verify-video`: what a video holds, decoded from end to end, before a long job."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command's options must show without loading the decoder
    from rich.progress import Progress

    from service.video import DecodeWorkers
    from service.video_tools import VideoTruth

SUMMARY = "tell what a video holds and what of it decodes, before a long job"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the videos."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="video, folder of videos, or quoted pattern such as 'day*/*.mp4'",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Decode all; 1 where an archive job would leave a frame of one without results."""
    import asyncio

    from service.logs import configure_logs

    configure_logs("text", "error")
    reports = asyncio.run(_verify(_videos(arguments.paths), show_progress=not arguments.json))
    incomplete = sum(one["state"] != "complete" for one in reports)
    if arguments.json:
        print(json.dumps({"videos": reports, "incomplete": incomplete}))
    else:
        _print(reports)
    return int(incomplete > 0)


def _videos(paths: Sequence[Path]) -> list[Path]:
    from service.errors import InvalidRequest
    from service.results.plan import plan_videos

    expanded: list[Path] = []
    for path in paths:
        root = Path(path.anchor or ".")
        is_pattern = not path.exists() and any(mark in str(path) for mark in "*?[")
        found = sorted(root.glob(str(path.relative_to(path.anchor)))) if is_pattern else []
        expanded += found or [path]
    videos = [one.path for one in plan_videos(expanded) if not one.pictures]
    if not videos:
        raise InvalidRequest("only pictures are there; give videos or folders of videos")
    return videos


async def _verify(videos: Sequence[Path], *, show_progress: bool) -> list[dict[str, Any]]:
    """Verify the videos one after the other; a bad one stops no other."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from service.video import DecodeWorkers

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (show_progress and console.is_terminal),
    ) as progress:
        async with DecodeWorkers(1) as workers:
            return [await _verify_one(video, workers, progress) for video in videos]


async def _verify_one(
    video: Path, workers: "DecodeWorkers", progress: "Progress"
) -> dict[str, Any]:
    from service.errors import EthostreamError
    from service.paths import shown_path
    from service.video_tools import verify_video

    bar = progress.add_task(Path(shown_path(video)).name, total=None)

    def show(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total)

    try:
        return _report(video, await verify_video(video, workers, on_frame=show))
    except (EthostreamError, OSError) as error:
        return {"video": shown_path(video), "state": "failed", "message": str(error)}


def _report(video: Path, truth: "VideoTruth") -> dict[str, Any]:
    from dataclasses import asdict

    faults = [
        {"frame_index": one.frame_index, "status": one.status.name, "reason": one.reason}
        for one in truth.decoded.faults
    ]
    return {
        "video": str(video),
        "state": "complete" if truth.is_complete else "incomplete",
        "notes": list(truth.notes),
        "container": asdict(truth.container),
        "packets": {
            **asdict(truth.packets),
            "is_variable_rate": truth.packets.is_variable_rate,
        },
        "decoded": {
            **asdict(truth.decoded),
            "frames": truth.decoded.frames,
            "faults": faults,
        },
    }


def _print(reports: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("state", "claimed", "packets", "decodable", "Hz", "px", "codec"):
        table.add_column(title, no_wrap=True)
    table.add_column("video", overflow="fold")
    for one in reports:
        row = [""] * 6
        if one["state"] != "failed":
            container, packets, decoded = one["container"], one["packets"], one["decoded"]
            row = [
                str(container["frames"] or "?"),
                str(packets["frames"]),
                str(decoded["ok"] + decoded["repeated"]),
                f"{packets['frame_rate_hz']:.6g}",
                f"{container['width_px']}x{container['height_px']}",
                container["codec"],
            ]
        table.add_row(one["state"], *row, Path(one["video"]).name.replace("[", "\\["))
    Console().print(table)
    for one in reports:
        for line in _lines(one):
            print(line)


def _lines(report: dict[str, Any]) -> list[str]:
    """What is to be said of a video besides its row."""
    if report["state"] == "failed":
        return ["", report["message"]]
    decoded = report["decoded"]
    lines = [f"  {note}" for note in report["notes"]]
    lines += [f"  {text}" for text in _fault_lines(decoded["faults"])]
    unlisted = decoded["corrupt"] + decoded["missing"] - len(decoded["faults"])
    if unlisted:
        lines.append(f"  and {unlisted} more frames without a picture")
    return ["", f"{report['video']} ({decoded['decoder']})", *lines] if lines else []


def _fault_lines(faults: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each stretch of frames that lack a picture for the same reason."""
    from itertools import groupby

    def stretch(place_and_fault: tuple[int, dict[str, Any]]) -> tuple[int, str, str]:
        place, fault = place_and_fault
        return fault["frame_index"] - place, fault["status"], fault["reason"]

    lines = []
    for (_, status, reason), group in groupby(enumerate(faults), stretch):
        frames = [fault["frame_index"] for _, fault in group]
        named = f"frames {frames[0]} to {frames[-1]}" if len(frames) > 1 else f"frame {frames[0]}"
        lines.append(f"{named} {status}: {reason}")
    return lines

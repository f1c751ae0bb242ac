"""`ethostream video`: cut, shorten and shrink video files."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command's options must show without loading the decoder
    from service.video_tools import VideoEdit

SUMMARY = "crop, shorten or shrink videos"

_ENDINGS = {"crop": "cropped", "shorten": "short", "downsample": "small"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    crop = _edit_action(actions, "crop", "cut out a part of every frame")
    crop.add_argument(
        "--area", required=True, metavar="X,Y,W,H", help="left, top, width and height, px"
    )
    shorten = _edit_action(actions, "shorten", "keep a stretch of time, exact to the frame")
    for name, meaning in (("start", "first moment that is kept"), ("stop", "first that is not")):
        shorten.add_argument(
            f"--{name}", metavar="TIME", help=f"{meaning}: 12.5 in seconds, 300f as a frame"
        )
    downsample = _edit_action(actions, "downsample", "fewer px, fewer frames, or both")
    downsample.add_argument("--size", metavar="WxH", help="size of the new frames, px")
    downsample.add_argument(
        "--frame-rate", type=float, default=0.0, metavar="HZ", help="frames a second to keep"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do the action for every video; 1 where one failed."""
    from service.video_tools import edit_video

    edit = _edit(arguments)

    def work(video: Path, show: Callable[[int, int], None]) -> dict[str, Any]:
        out = _out(video, arguments)
        made = edit_video(video, out, edit, overwrite=arguments.overwrite, on_frame=show)
        return {
            "video": str(video),
            "state": "done",
            "out": str(made.out),
            "frames": made.frames,
            "frames_left_out": made.frames_left_out,
            "width_px": made.width_px,
            "height_px": made.height_px,
        }

    reports = _for_each(arguments, work)
    for one in reports if not arguments.json else []:
        if one["state"] == "failed":
            print(f"{one['video']}: FAILED: {one['message']}")
            continue
        damaged = one["frames_left_out"]
        print(
            f"{one['out']}: {one['frames']} frames of {one['width_px']}x{one['height_px']} px"
            + (f"; {damaged} damaged ones left out" if damaged else "")
        )
    return int(any(one["state"] == "failed" for one in reports))


def _edit_action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of VIDEO_{_ENDINGS[name]}.mp4 (default: beside each video)",
    )
    parser.add_argument(
        "--quality", type=int, default=18, metavar="CRF", help="0 (best) to 51 (default: 18)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--json", action="store_true", help="print JSON, show no progress")
    return parser


def _edit(arguments: argparse.Namespace) -> "VideoEdit":
    from service.errors import InvalidRequest
    from service.preprocess import CropRegion
    from service.video_tools import VideoEdit

    values: dict[str, Any] = {"quality": arguments.quality}
    if arguments.action == "crop":
        values["crop"] = CropRegion(
            *_whole_numbers(arguments.area, ",", 4, "--area", "X,Y,W,H, such as 100,0,640,480")
        )
    elif arguments.action == "shorten":
        if not (arguments.start or arguments.stop):
            raise InvalidRequest("nothing to cut off; give --start, --stop or both")
        for name in ("start", "stop"):
            text = getattr(arguments, name)
            if text is not None:
                unit, value = _moment(text, f"--{name}")
                values[f"{name}_{unit}"] = value
        if len({key.partition("_")[2] for key in values if key != "quality"}) > 1:
            raise InvalidRequest("--start and --stop are both seconds or both frames")
    else:
        if not (arguments.size or arguments.frame_rate):
            raise InvalidRequest("nothing to make smaller; give --size, --frame-rate or both")
        if arguments.size:
            size = _whole_numbers(arguments.size, "x", 2, "--size", "WxH, such as 640x480")
            values["width_px"], values["height_px"] = size
        values["frame_rate_hz"] = arguments.frame_rate
    return VideoEdit(**values)


def _whole_numbers(text: str, mark: str, count: int, option: str, wanted: str) -> list[int]:
    from service.errors import InvalidRequest

    parts = text.split(mark)
    if len(parts) != count or not all(one.strip().isdecimal() for one in parts):
        raise InvalidRequest(f"{option} {text!r} is not {wanted} in whole px")
    numbers = [int(one) for one in parts]
    if 0 in numbers[-2:]:
        raise InvalidRequest(f"{option} {text!r} has no area; give a width and height from 1")
    return numbers


def _moment(text: str, option: str) -> tuple[str, float | int]:
    from service.errors import InvalidRequest

    number = text.removesuffix("f").removesuffix("s")
    try:
        return ("frame", int(number)) if text.endswith("f") else ("s", float(number))
    except ValueError:
        raise InvalidRequest(
            f"{option} {text!r} is no time; write 12.5 in seconds, or 300f as a frame"
        ) from None


def _out(video: Path, arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.out or video.parent
    return folder / f"{video.stem}_{_ENDINGS[arguments.action]}.mp4"


def _for_each(
    arguments: argparse.Namespace,
    work: Callable[[Path, Callable[[int, int], None]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Work on the videos one after the other; a bad one stops no other."""
    from rich.console import Console
    from rich.progress import Progress

    from service.errors import EthostreamError

    reports = []
    console = Console(stderr=True)
    with Progress(console=console, disable=arguments.json or not console.is_terminal) as progress:
        for video in arguments.videos:
            bar = progress.add_task(video.name.replace("[", "\\["), total=None)

            def show(done: int, total: int, bar: Any = bar) -> None:
                progress.update(bar, completed=done, total=total)

            try:
                reports.append(work(video, show))
            except (EthostreamError, OSError) as error:
                reports.append({"video": str(video), "state": "failed", "message": str(error)})
    if arguments.json:
        failed = sum(one["state"] == "failed" for one in reports)
        print(json.dumps({"videos": reports, "failed": failed}))
    return reports

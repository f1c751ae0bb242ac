"""`ethostream simulate`: recordings with exact ground truth, as video and label files."""

import argparse
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import InvalidConfig

if TYPE_CHECKING:
    from service.simulation import SimulationSettings

SUMMARY = "make recordings with exact ground truth"

_CODECS = ("h264", "hevc", "mjpeg", "vp9", "ffv1")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare where to write and what to simulate."""
    parser.add_argument(
        "out_dir",
        type=Path,
        metavar="OUT_DIR",
        help="folder for NAME.mp4, NAME_labels.csv (DeepEthogram), NAME_truth.npz, "
        "NAME_truth.json and labeled-data/NAME (DeepLabCut)",
    )
    parser.add_argument(
        "--scene",
        default="openfield",
        metavar="SCENE",
        help="openfield: arena from above; homecage: cage from the side, infrared look",
    )
    parser.add_argument(
        "--size", default="640x480", metavar="WxH", help="size of the frames, px (64 to 4096)"
    )
    parser.add_argument(
        "--rate", type=float, default=30.0, metavar="HZ", help="frames a second (1 to 1000)"
    )
    parser.add_argument(
        "--duration", type=float, default=20.0, metavar="S", help="length of a recording, s"
    )
    parser.add_argument(
        "--codec", default="h264", metavar="CODEC", help=f"one of {', '.join(_CODECS)}"
    )
    parser.add_argument(
        "--animals", type=int, default=1, metavar="N", help="animals in the scene (1 to 8)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="picks motion and looks; counted up"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="stem of the files; by default SCENE_seedSEED"
    )
    parser.add_argument(
        "--count", type=int, default=1, metavar="N", help="recordings, each with the next seed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Simulate and write the recordings."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    from service.simulation import simulate, write_recording

    plan = _plan(arguments)
    reports = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=arguments.json,
    ) as progress:
        for name, settings in plan:
            bar = progress.add_task(name, total=settings.frame_count)

            def show(done: int, bar: TaskID = bar) -> None:
                progress.update(bar, completed=done)

            started = time.perf_counter()
            files = write_recording(
                simulate(settings),
                arguments.out_dir,
                name=name,
                codec=arguments.codec,
                on_frame=show,
            )
            seconds = time.perf_counter() - started
            reports.append(
                {
                    "name": name,
                    "video": str(files.video),
                    "pose_csv": str(files.pose_csv),
                    "pose_h5": str(files.pose_h5),
                    "behavior_csv": str(files.behavior_csv),
                    "truth_npz": str(files.truth_arrays),
                    "truth_json": str(files.truth_json),
                    "frame_count": settings.frame_count,
                    "frame_rate_hz": settings.frame_rate_hz,
                    "seconds": round(seconds, 3),
                    "frames_per_s": round(settings.frame_count / seconds, 1),
                }
            )
    if arguments.json:
        print(json.dumps(reports))
    else:
        for report in reports:
            print(
                f"{report['video']}: {report['frame_count']} frames, "
                f"{report['frames_per_s']} frames/s"
            )
    return 0


def _plan(arguments: argparse.Namespace) -> "list[tuple[str, SimulationSettings]]":
    """Names and settings of all recordings, checked before the first is computed."""
    from service.simulation.files import check_codec
    from service.simulation.settings import SimulationSettings

    if not 1 <= arguments.count <= 100_000:
        raise InvalidConfig(f"--count is {arguments.count}; choose a number from 1 to 100000")
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if size is None:
        raise InvalidConfig(f"--size is {arguments.size!r}; write it as 640x480")
    plan = []
    for index in range(arguments.count):
        settings = SimulationSettings(
            scene=arguments.scene,
            width_px=int(size[1]),
            height_px=int(size[2]),
            frame_rate_hz=arguments.rate,
            duration_s=arguments.duration,
            animals=arguments.animals,
            seed=arguments.seed + index,
        )
        name = arguments.name or f"{settings.scene}_seed{settings.seed}"
        if arguments.name and arguments.count > 1:
            name = f"{arguments.name}_{index:0{len(str(arguments.count - 1))}d}"
        if Path(name).name != name or name == "..":
            raise InvalidConfig(f"--name is {name!r}; give a file name without folders")
        check_codec(arguments.codec, settings)
        plan.append((name, settings))
    return plan

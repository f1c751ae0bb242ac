"""`ethostream maps`: score maps and location refinement of a run's network, as pictures."""

import argparse
from pathlib import Path

SUMMARY = "draw the score maps and offsets that a run's network computes of pictures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="folder of a pose run")
    add("pictures", nargs="+", type=Path, metavar="PICTURE", help="PNG, JPEG, …")
    add(
        "--out",
        type=Path,
        default=Path("maps"),
        metavar="DIR",
        help="where <number>-<picture>.png go (default: maps)",
    )
    add("--keypoints", nargs="+", metavar="NAME", help="draw these (default: all)")
    add(
        "--animals",
        type=int,
        metavar="N",
        help="mark this many local maxima (default: as many as were labelled)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw one file for each picture."""
    from training.data.frames import keypoint_indices
    from training.data.labels import FilePicture
    from training.pose.maps import MapReader, draw_maps
    from training.runs import open_run

    reader = MapReader(open_run(arguments.run), animals=arguments.animals)
    keypoints = tuple(arguments.keypoints or reader.settings.keypoints)
    keypoint_indices(reader.settings.keypoints, keypoints)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(arguments.pictures, start=1):
        maps = reader.read(FilePicture(picture).read())
        path = arguments.out / f"{number:03d}-{picture.stem}.png"
        draw_maps(maps, reader.settings, keypoints).savefig(path, dpi=110)
        print(path)
    return 0

"""`ethostream analyze`: videos, folders and pictures to result files, here or on a server."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._shipped import SHIPPED_MODELS, SHIPPED_NAMES
from service.decoder_names import DECODER_CHOICES
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES
from service.format_names import DEFAULT_FORMATS, FORMATS

if TYPE_CHECKING:  # the command's options must show without loading the engines
    from contextlib import AbstractAsyncContextManager

    from service.jobs.analyzer import Analyzer
    from service.jobs.reports import VideoReport
    from service.results import RequestOptions

SUMMARY = "analyze videos and folders, and write what was found"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what to analyze, with what, and where results go."""
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="video file, folder of videos or of pictures, or picture; the pictures of one folder "
        "are one video, in the order of their names",
    )
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME[@VERSION]",
        help="bundle to run; repeat for several (default: all of --models or of the server; of "
        f"the shipped ones {' and '.join(SHIPPED_NAMES)})",
    )
    add("--models", type=Path, metavar="DIR", help="folder of bundles (default: the shipped ones)")
    add("--server", metavar="HOST:PORT", help="upload to this server instead of computing here")
    add("--token-file", type=Path, metavar="FILE", help="file with the token for --server")
    add("--tls", action="store_true", help="use TLS with --server; implied by --tls-root")
    add("--tls-root", type=Path, metavar="PEM", help="who signed the server's certificate")
    add(
        "--out", type=Path, metavar="DIR", help="folder of the results (default: beside each video)"
    )
    add(
        "--format",
        action="append",
        choices=tuple(FORMATS),
        help="what to write besides the Parquet record; repeat for several (default: "
        f"{', '.join(DEFAULT_FORMATS)})",
    )
    add("--overlay", action="store_true", help="also draw each video with what was found in it")
    add("--report", action="store_true", help="also write a page for each video, and one for all")
    add("--engine", choices=ENGINE_CHOICES, default="auto")
    add("--precision", choices=PRECISION_CHOICES, default="auto")
    add(
        "--decoder",
        choices=DECODER_CHOICES,
        default="auto",
        help="what decodes videos here; auto takes the best for each file (default)",
    )
    add("--crop", metavar="X,Y,W,H", help="part of the frame that the models look at, px")
    add(
        "--dynamic-crop",
        type=float,
        nargs="?",
        const=50.0,
        metavar="MARGIN_PX",
        help="crop each frame around the animal with this margin, 50 px where none is given, for "
        "large frames that make it small (write it after PATH)",
    )
    add(
        "--max-zoom",
        type=float,
        default=2.5,
        metavar="X",
        help="largest magnification by --dynamic-crop (default: 2.5)",
    )
    add("--frame-limit", type=int, default=0, metavar="N", help="frames of each video; 0: all")
    add("--frame-rate", type=float, default=0.0, metavar="HZ", help="true rate; 0: the container's")
    add("--parallel", type=int, default=2, metavar="N", help="videos that are worked on at once")
    add(
        "--in-random-order",
        action="store_true",
        help="so that several of these commands can share one list of videos",
    )
    add("--overwrite", action="store_true", help="analyze again what is finished already")
    add("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Analyze all that is not finished; 1 where a video failed."""
    import asyncio

    from service.errors import InvalidRequest
    from service.jobs.finish import Outputs
    from service.jobs.video import Request
    from service.logs import configure_logs
    from service.results.formats import check_formats
    from service.results.plan import in_random_order, plan_videos

    configure_logs("text", "error")
    if arguments.parallel < 1 or arguments.frame_limit < 0 or arguments.frame_rate < 0:
        raise InvalidRequest("--parallel is at least 1, --frame-limit and --frame-rate at least 0")
    formats = arguments.format or list(DEFAULT_FORMATS)
    check_formats(formats)
    options = _options(arguments)
    planned = plan_videos(arguments.paths, arguments.out)
    if arguments.in_random_order:
        planned = in_random_order(planned)
    if arguments.overlay and any(one.pictures for one in planned):
        raise InvalidRequest("--overlay draws on videos; leave it out for pictures")

    async def work() -> "list[VideoReport]":
        from service.commands._videos import analyze_videos

        async with _open(arguments) as analyzer:
            return await analyze_videos(
                planned,
                analyzer,
                Request(
                    options=options,
                    outputs=Outputs(tuple(formats), arguments.overlay, arguments.report),
                    overwrite=arguments.overwrite,
                ),
                parallel=arguments.parallel,
                show_progress=not arguments.json,
            )

    reports = asyncio.run(work())
    _print(reports, as_json=arguments.json)
    return 1 if any(one.state == "failed" for one in reports) else 0


def _options(arguments: argparse.Namespace) -> "RequestOptions":
    from service.dynamic_crop import DynamicCrop
    from service.errors import InvalidRequest
    from service.results import RequestOptions
    from service.results.provenance import DynamicCropOptions

    crop, follow = None, None
    if arguments.crop:
        parts = arguments.crop.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise InvalidRequest(
                f"the crop {arguments.crop!r} is not X,Y,W,H in whole px, such as 100,0,640,480"
            )
        x, y, width, height = (int(part) for part in parts)
        crop = (x, y, width, height)
    if arguments.dynamic_crop is not None:
        margin_px, max_zoom = arguments.dynamic_crop, arguments.max_zoom
        DynamicCrop(margin_px=margin_px, max_zoom=max_zoom)  # refuses what is out of range
        follow = DynamicCropOptions(margin_px=margin_px, max_zoom=max_zoom)
    return RequestOptions(
        crop_xywh=crop,
        frame_limit=arguments.frame_limit,
        frame_rate_hz=arguments.frame_rate,
        dynamic_crop=follow,
    )


def _open(arguments: argparse.Namespace) -> "AbstractAsyncContextManager[Analyzer]":
    from service.commands._analyzers import open_local, open_remote

    if arguments.server:
        from ethostream import AsyncClient, TlsOptions

        token = arguments.token_file.read_text().strip() if arguments.token_file else None
        secured = arguments.tls or arguments.tls_root
        tls = TlsOptions(root_certificate=arguments.tls_root) if secured else None
        return open_remote(AsyncClient(arguments.server, token=token, tls=tls), arguments.model)

    from service.config import ServiceConfig, VideoConfig
    from service.repository import EngineConfig

    names = arguments.model or (() if arguments.models else SHIPPED_NAMES)
    config = ServiceConfig(
        engine=EngineConfig(engine=arguments.engine, precision=arguments.precision),
        video=VideoConfig(decode_workers=arguments.parallel, decoder=arguments.decoder),
    )
    return open_local(arguments.models or SHIPPED_MODELS, names, config)


def _print(reports: "list[VideoReport]", *, as_json: bool) -> None:
    import msgspec

    failed = [one for one in reports if one.state == "failed"]
    if as_json:
        videos = [msgspec.to_builtins(one) for one in reports]
        print(json.dumps({"videos": videos, "failed": len(failed)}))
        return
    for one in reports:
        match one.state:
            case "done":
                rate = f", {one.frames / one.seconds:.1f} frames/s" if one.seconds else ""
                print(
                    f"{one.video}: {one.frames} frames{rate} ({one.decoder}), "
                    f"results {one.files[0]}"
                )
                if one.resumed_frames:
                    print(f"  {one.resumed_frames} of them were there from an earlier run")
                if one.message:
                    print(f"  {one.message}")
            case "skipped":
                print(f"{one.video}: skipped, finished before: {one.files[0]}")
            case _:
                print(f"{one.video}: FAILED: {one.message}")
    done = sum(one.state == "done" for one in reports)
    skipped = len(reports) - done - len(failed)
    print(f"{done} analyzed, {skipped} skipped, {len(failed)} failed")

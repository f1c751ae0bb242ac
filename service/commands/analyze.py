"""`ethostream analyze`: videos, folders and pictures to result files, here or on a server."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._options import (
    add_server_options,
    add_work_options,
    read_access,
    read_outputs,
    read_request,
)
from service.commands._shipped import SHIPPED_MODELS, SHIPPED_NAMES
from service.decoder_names import DECODER_CHOICES
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES

if TYPE_CHECKING:  # the command's options must show without loading the engines
    from contextlib import AbstractAsyncContextManager

    from service.commands._videos import OpenWorker
    from service.config import ServiceConfig
    from service.jobs.analyzer import Analyzer
    from service.jobs.planning import LeftOut
    from service.jobs.reports import VideoReport
    from service.jobs.video import Request

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
    add_server_options(parser, "upload to this server instead of computing here")
    add(
        "--ray",
        metavar="ADDRESS",
        help="compute on all machines of a Ray cluster, which see videos, bundles and results "
        "under the same paths: HOST:PORT of its head, auto for the one that runs here, or local "
        "to start one",
    )
    add(
        "--out", type=Path, metavar="DIR", help="folder of the results (default: beside each video)"
    )
    add_work_options(parser)
    add("--engine", choices=ENGINE_CHOICES, default="auto")
    add("--precision", choices=PRECISION_CHOICES, default="auto")
    add(
        "--decoder",
        choices=DECODER_CHOICES,
        default="auto",
        help="what decodes videos here; auto takes the best for each file (default)",
    )
    add(
        "--parallel",
        type=int,
        default=2,
        metavar="N",
        help="videos that are worked on at once (with --ray: on each device)",
    )
    add(
        "--in-random-order",
        action="store_true",
        help="so that several of these commands can share one list of videos",
    )
    add("--json", action="store_true", help="print JSON, show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Analyze all that is not finished; 1 where a video failed."""
    import asyncio
    from dataclasses import replace

    from service.errors import InvalidRequest
    from service.jobs.planning import plan_work
    from service.jobs.video import Request
    from service.logs import configure_logs
    from service.results.formats import check_formats
    from service.results.plan import JOB_REPORT, in_random_order

    configure_logs("text", "error")
    if arguments.parallel < 1:
        raise InvalidRequest(f"--parallel is {arguments.parallel}; give at least 1")
    if arguments.ray and arguments.server:
        raise InvalidRequest("--ray and --server name two places to compute; leave one out")
    if arguments.server:
        _check_server_chooses(arguments)
    outputs = read_outputs(arguments)
    check_formats(outputs.formats)
    request = Request(
        options=read_request(arguments), outputs=outputs, overwrite=arguments.overwrite
    )
    paths, out = arguments.paths, arguments.out
    if arguments.ray:  # the other machines work in another folder
        paths, out = [path.absolute() for path in paths], out.absolute() if out else None
    work = plan_work(paths, out)
    if outputs.overlay and any(one.pictures for one in work.videos):
        raise InvalidRequest("--overlay draws on videos; leave it out for pictures")
    page = (out or work.videos[0].out) / JOB_REPORT if outputs.report else None
    if arguments.in_random_order:
        work = replace(work, videos=tuple(in_random_order(work.videos)))

    async def analyze() -> "tuple[list[VideoReport], str]":
        from service.commands._videos import analyze_videos

        return await analyze_videos(
            work,
            _choose_worker(arguments, request),
            # A cluster bounds them itself, by its devices, which may become more.
            parallel=len(work.videos) if arguments.ray else arguments.parallel,
            page=page,
            show_progress=not arguments.json,
        )

    reports, missing = asyncio.run(analyze())
    _print(reports, work.left_out, None if missing else page, as_json=arguments.json)
    if missing:
        print(f"ethostream: {missing}", file=sys.stderr)
    return 1 if missing or any(one.state == "failed" for one in reports) else 0


def _check_server_chooses(arguments: argparse.Namespace) -> None:
    from service.errors import InvalidRequest

    for name in ("models", "engine", "precision", "decoder"):
        value = getattr(arguments, name)
        if value not in (None, "auto"):
            raise InvalidRequest(
                f"--{name} {value} is for computing here, and {arguments.server} has its own "
                "settings; leave it out, or give it to `ethostream serve`"
            )


def _choose_worker(arguments: argparse.Namespace, request: "Request") -> "OpenWorker":
    """Return what opens a cluster, or what computes here or on a server."""
    from service.commands._videos import with_analyzer

    if not arguments.ray:
        return with_analyzer(_open(arguments), request)
    from service.commands._cluster import on_cluster

    return on_cluster(
        arguments.ray,
        arguments.models or SHIPPED_MODELS,
        _names(arguments),
        _config(arguments),
        request,
        parallel=arguments.parallel,
    )


def _open(arguments: argparse.Namespace) -> "AbstractAsyncContextManager[Analyzer]":
    from service.commands._analyzers import open_local, open_remote

    if arguments.server:
        from ethostream import AsyncClient

        token, tls = read_access(arguments)
        return open_remote(AsyncClient(arguments.server, token=token, tls=tls), arguments.model)
    return open_local(arguments.models or SHIPPED_MODELS, _names(arguments), _config(arguments))


def _names(arguments: argparse.Namespace) -> "Sequence[str]":
    return arguments.model or (() if arguments.models else SHIPPED_NAMES)


def _config(arguments: argparse.Namespace) -> "ServiceConfig":
    from service.config import ServiceConfig, VideoConfig
    from service.repository import EngineConfig

    return ServiceConfig(
        engine=EngineConfig(engine=arguments.engine, precision=arguments.precision),
        video=VideoConfig(decode_workers=arguments.parallel, decoder=arguments.decoder),
    )


def _print(
    reports: "list[VideoReport]",
    left_out: "Sequence[LeftOut]",
    page: Path | None,
    *,
    as_json: bool,
) -> None:
    import msgspec

    failed = [one for one in reports if one.state == "failed"]
    if as_json:
        told = {"videos": reports, "failed": len(failed), "left_out": left_out}
        print(json.dumps(msgspec.to_builtins(told) | {"report": str(page or "")}))
        return
    for one in reports:
        match one.state:
            case "done":
                new = one.frames - one.resumed_frames
                rate = f", {new / one.seconds:.1f} frames/s" if one.seconds else ""
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
    for file in left_out:
        print(f"{file.path}: left out: {file.reason}")
    done = sum(one.state == "done" for one in reports)
    skipped = len(reports) - done - len(failed)
    others = f", {len(left_out)} files left out" if left_out else ""
    print(f"{done} analyzed, {skipped} skipped, {len(failed)} failed{others}")
    if page is not None:
        print(f"report {page}")

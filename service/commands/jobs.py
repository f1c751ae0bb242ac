"""`ethostream jobs`: archives of videos to result files, by a server or from a folder of jobs."""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands._options import (
    add_server_options,
    add_work_options,
    read_access,
    read_outputs,
    read_request,
)
from service.commands._shipped import SHIPPED_MODELS
from service.decoder_names import DECODER_CHOICES
from service.engine_names import ENGINE_CHOICES, PRECISION_CHOICES

if TYPE_CHECKING:  # the command's options must show without loading the engines
    from ethostream import AsyncJobs, Job

    from service.commands._job_folder import FolderJobs

SUMMARY = "analyze archives of videos, unattended, on from where an earlier run was stopped"

_ACTIONS = {
    "submit": "have videos analyzed; prints the job",
    "list": "list all jobs",
    "show": "show one job with all its videos",
    "watch": "show how far a job is, until it is over; 1 where videos failed",
    "cancel": "end a job; what is finished stays",
    "retry": "try the failed and cancelled videos of a job again",
    "run": "work on the jobs of a folder without a server, beside others who do",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        action = actions.add_parser(name, help=text, formatter_class=parser.formatter_class)
        if name == "run":
            _configure_run(action)
            continue
        if name == "submit":
            _configure_submit(action)
        elif name != "list":
            action.add_argument("job", metavar="JOB", help="id of the job")
        action.add_argument(
            "--jobs", type=Path, metavar="DIR", help="a folder of jobs instead of a server"
        )
        add_server_options(action, "server to ask", default="127.0.0.1:50051")
        action.add_argument("--json", action="store_true", help="print JSON")


def _configure_submit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="video, folder with all below it, or pattern with * and **; on the server, below its "
        "roots; with --jobs, here",
    )
    add(
        "--model",
        action="append",
        required=True,
        metavar="NAME[@VERSION]",
        help="bundle to run; repeat for several",
    )
    add(
        "--models",
        type=Path,
        default=SHIPPED_MODELS,
        metavar="DIR",
        help="with --jobs, folder of the bundles",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--out", default="", metavar="DIR", help="folder of the results (default: the job's own)"
    )
    place.add_argument("--beside-videos", action="store_true", help="put results beside each video")
    add_work_options(parser)
    add("--priority", type=int, default=0, metavar="N", help="jobs with a higher number go first")
    add("--title", default="", help="what you call it")


def _configure_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--jobs", type=Path, required=True, metavar="DIR", help="folder of the jobs")
    add("--models", type=Path, default=SHIPPED_MODELS, metavar="DIR", help="folder of bundles")
    add("--engine", choices=ENGINE_CHOICES, default="auto")
    add("--precision", choices=PRECISION_CHOICES, default="auto")
    add("--decoder", choices=DECODER_CHOICES, default="auto", help="what decodes videos")
    add("--parallel", type=int, default=2, metavar="N", help="videos that are worked on at once")
    add(
        "--until-done",
        action="store_true",
        help="end when no job has work left; 1 where videos failed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked; 1 where a job that was watched or run has failed videos."""
    import asyncio

    from service.logs import configure_logs

    if arguments.action == "run":
        from service.commands._job_run import run_jobs

        configure_logs("text" if sys.stderr.isatty() else "json")
        return asyncio.run(run_jobs(arguments))
    configure_logs("text", "error")
    return asyncio.run(_ask(arguments))


async def _ask(arguments: argparse.Namespace) -> int:
    if arguments.jobs is not None:
        from service.commands._job_folder import FolderJobs

        folder = FolderJobs(arguments.jobs, is_new=arguments.action == "submit")
        return await _act(folder, lambda: _store(folder, arguments), arguments)

    from ethostream import AsyncClient

    token, tls = read_access(arguments)
    async with AsyncClient(arguments.server, token=token, tls=tls) as client:
        return await _act(client.jobs, lambda: _send(client.jobs, arguments), arguments)


async def _act(
    jobs: "AsyncJobs | FolderJobs",
    submit: "Callable[[], Awaitable[Job]]",
    arguments: argparse.Namespace,
) -> int:
    from service.commands._job_views import print_job, print_jobs

    match arguments.action:
        case "watch":
            return await _watch(jobs.watch(arguments.job), as_json=arguments.json)
        case "list":
            listed = await jobs.list()
            if arguments.json:
                print(json.dumps([asdict(one) for one in listed]))
            else:
                print_jobs(listed)
            return 0
        case "submit":
            job = await submit()
        case "cancel":
            job = await jobs.cancel(arguments.job)
        case "retry":
            job = await jobs.retry(arguments.job)
        case _:
            job = await jobs.get(arguments.job)
    if arguments.json:
        print(json.dumps(asdict(job)))
    elif arguments.action == "show":
        print_job(job)
    else:
        print_jobs([job])
    return 0


async def _send(jobs: "AsyncJobs", arguments: argparse.Namespace) -> "Job":
    """Submit to a server."""
    from ethostream import Crop, DynamicCrop

    options, outputs = read_request(arguments), read_outputs(arguments)
    follow = options.dynamic_crop
    return await jobs.submit(
        arguments.paths,
        bundles=arguments.model,
        out=arguments.out,
        beside_videos=arguments.beside_videos,
        formats=outputs.formats,
        overlay=outputs.overlay,
        report=outputs.report,
        overwrite=arguments.overwrite,
        priority=arguments.priority,
        crop=Crop(*options.crop_xywh) if options.crop_xywh else None,
        dynamic_crop=DynamicCrop(margin_px=follow.margin_px, max_zoom=follow.max_zoom)
        if follow
        else None,
        frame_limit=options.frame_limit,
        frame_rate_hz=options.frame_rate_hz,
        title=arguments.title,
    )


async def _store(jobs: "FolderJobs", arguments: argparse.Namespace) -> "Job":
    """Submit into a folder of jobs."""
    from service.jobs.submit import JobRequest

    request = JobRequest(
        paths=tuple(map(_absolute, arguments.paths)),
        bundles=tuple(arguments.model),
        options=read_request(arguments),
        outputs=read_outputs(arguments),
        out=_absolute(arguments.out) if arguments.out else "",
        beside_videos=arguments.beside_videos,
        overwrite=arguments.overwrite,
        priority=arguments.priority,
        title=arguments.title,
    )
    return await jobs.submit(request, arguments.models)


def _absolute(path: str) -> str:
    """Return where a path or pattern leads from here, without parts `..`, which jobs refuse.

    Links behind the last of these keep their names: results have them.
    """
    parts = Path(path).absolute().parts
    behind = len(parts) - parts[::-1].index("..") if ".." in parts else 1
    return str(Path(*parts[:behind]).resolve().joinpath(*parts[behind:]))


async def _watch(updates: "AsyncIterator[Job]", *, as_json: bool) -> int:
    from service.commands._job_views import print_summary, show_live, with_speed

    seen = with_speed(updates)
    if as_json:
        async for job in seen:
            print(json.dumps(asdict(job)), flush=True)
    else:
        job = await show_live(seen)
        print_summary(job)
    return 0 if job.state == "done" else 1

"""From what a person asks for to the plan of a job, every part of it checked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidRequest, PathOutsideRoots
from service.jobs.finish import Outputs
from service.jobs.planning import check_below, find_below_roots, plan_work
from service.jobs.store import JobPlan, new_job_id
from service.paths import find_places
from service.results import RequestOptions
from service.results.formats import check_formats
from service.results.plan import PlannedVideo
from service.results.provenance import size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What is asked for."""

    paths: tuple[str, ...]
    """Files, folders and patterns with * and **."""
    bundles: tuple[str, ...]
    """NAME@VERSION."""
    options: RequestOptions
    outputs: Outputs
    out: str = ""
    """Folder of the results; empty: that of the job."""
    beside_videos: bool = False
    """Put results beside each video."""
    overwrite: bool = False
    priority: int = 0
    title: str = ""


def plan_job(
    request: JobRequest, jobs: Path, *, roots: Sequence[Path], result_roots: Sequence[Path]
) -> JobPlan:
    """Find the videos of a job, and check that all it asks for can be.

    Args:
        request: what is asked for.
        jobs: folder of all jobs.
        roots: folders below which videos may lie.
        result_roots: folders below which results may be written, besides that of the job.

    Raises:
        InvalidRequest: nothing is named, no video is found, two would write the same files, an
            unknown format, a number that is too large, or `out` and `beside_videos` together.
        PathOutsideRoots: a path is below no root.
        VideoNotFound: nothing is at a path.
        EngineUnavailable: a format needs a library that is not installed.
    """
    if not request.paths or not request.bundles:
        missing = "path" if not request.paths else "bundle"
        raise InvalidRequest(f"the job names no {missing}; name at least one")
    if request.out and request.beside_videos:
        raise InvalidRequest(
            f"results cannot go to {request.out} and beside the videos; leave one out"
        )
    check_formats(request.outputs.formats)
    _check_numbers(request)
    job_id = new_job_id()
    out: Path | None = jobs / job_id / "results"
    if request.out:
        out = _find_place(request.out, result_roots)
    elif request.beside_videos:
        out = None
    work = plan_work(find_below_roots(request.paths, roots), out)
    bases = [root.resolve() for root in roots]
    result_bases = [root.resolve() for root in result_roots]
    for video in work.videos:
        for file in (video.path, *video.pictures):
            check_below(file, bases, request.paths)
        if request.beside_videos:
            check_below(video.out, result_bases, request.paths)
    if request.outputs.overlay and any(one.pictures for one in work.videos):
        raise InvalidRequest("an overlay is drawn on videos; leave it out for pictures")
    return JobPlan(
        job_id=job_id,
        submitted_ns=time.time_ns(),
        title=request.title,
        paths=request.paths,
        bundles=request.bundles,
        options=request.options,
        outputs=request.outputs,
        overwrite=request.overwrite,
        priority=request.priority,
        out=request.out,
        beside_videos=request.beside_videos,
        videos=work.videos,
        sizes_bytes=tuple(map(_size_bytes, work.videos)),
        left_out=work.left_out,
    )


def _check_numbers(request: JobRequest) -> None:
    """Refuse what fits into no message: where one job cannot be told, none can be listed."""
    for name, value, least, most in (
        ("priority", request.priority, -(1 << 31), (1 << 31) - 1),
        ("frame limit", request.options.frame_limit, 0, (1 << 64) - 1),
        *(("crop", one, 0, (1 << 32) - 1) for one in request.options.crop_xywh or ()),
    ):
        if not least <= value <= most:
            raise InvalidRequest(f"the {name} {value} is out of range; give {least} to {most}")


def _size_bytes(video: PlannedVideo) -> int:
    try:
        return size_bytes(video.source)
    except OSError:  # a link that leads nowhere: its analysis will say so
        return 0


def _find_place(text: str, roots: Sequence[Path]) -> Path:
    """Return the folder for results, absolute or relative to a root; it need not be there yet."""
    places = find_places(text, roots)
    if not places:
        raise PathOutsideRoots(
            f"results cannot go to {text!r}, which is below no root for results of this server; "
            "leave `out` empty, or ask the operator (`results` in section [jobs])"
        )
    return places[0]

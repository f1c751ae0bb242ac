"""How jobs look on a terminal: tables, and a live view of one."""

import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from ethostream import Job, JobVideo
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_SPEED_SECONDS = 30.0
_LINE_SECONDS = 5.0  # where nobody looks at the terminal live, a log is to be read later
_MOST_RUNNING = 16  # lines of the live view: a terminal scrolls no taller one


async def with_speed(updates: AsyncIterator[Job]) -> AsyncGenerator[Job, None]:
    """Give jobs the speed that is seen here: a server knows only its own of several."""
    seen: deque[tuple[float, int]] = deque()
    async for job in updates:
        now = time.monotonic()
        seen.append((now, job.frames))
        while len(seen) > 2 and seen[1][0] < now - _SPEED_SECONDS:
            seen.popleft()
        (began, frames), elapsed = seen[0], now - seen[0][0]
        if elapsed > 0 and job.frames > frames and not job.is_over:
            measured = (job.frames - frames) / (now - began)
            job = replace(job, frames_per_second=max(job.frames_per_second, measured))
        yield job


async def show_live(updates: AsyncIterator[Job]) -> Job:
    """Draw a job until it is over, or, where there is no terminal, say a line now and then."""
    console = Console()
    if not console.is_terminal:
        return await _say_lines(updates, console)
    last: Job | None = None
    with Live(console=console, refresh_per_second=4) as live:
        async for job in updates:
            live.update(draw_job(job))
            last = job
        live.update(Text())  # the summary says more
    assert last is not None, "a job is sent at least once"
    return last


async def _say_lines(updates: AsyncIterator[Job], console: Console) -> Job:
    said_at, said = 0.0, ""
    async for job in updates:
        line = describe(job)
        if job.is_over or (time.monotonic() - said_at > _LINE_SECONDS and line != said):
            console.print(f"{time.strftime('%H:%M:%S')} {line}", markup=False, soft_wrap=True)
            said_at, said = time.monotonic(), line
    return job


def describe(job: Job) -> str:
    """Tell a job in a line."""
    parts = [
        f"{job.state} {job.progress:.1%}",
        f"{job.videos_done} of {job.videos} videos done",
        f"{job.videos_failed} failed",
        f"{job.frames:,} frames",
    ]
    if not job.is_over and job.frames_per_second:
        parts.append(f"{job.frames_per_second:.0f} frames/s")
    if not job.is_over and job.remaining_seconds:
        parts.append(f"{duration(job.remaining_seconds)} left")
    return ", ".join(parts)


def draw_job(job: Job) -> RenderableType:
    """Draw a job with a bar for all of it and one for each video in work."""
    rows = Table.grid(padding=(0, 1))
    for place in range(5):
        rows.add_column(justify="left" if place < 2 else "right", no_wrap=True)
    _add_bar(
        rows,
        Text("all videos", style="bold"),
        job.progress,
        f"{job.progress:.1%}",
        _speed(job.frames_per_second),
        job.remaining_seconds,
    )
    running = [one for one in job.listed if one.state == "running"]
    for one in running[:_MOST_RUNNING]:
        share = one.frames / one.total_frames if one.total_frames else 0.0
        counted = f"{one.frames:,}/{one.total_frames:,}" if one.total_frames else f"{one.frames:,}"
        name = Text(PurePath(one.path).name)
        _add_bar(rows, name, share, f"{counted} frames", "", one.remaining_seconds)
    head = Text.assemble((job.title or job.job_id, "bold"), f"  {job.state}")
    waiting = job.videos - job.videos_done - job.videos_failed - len(running)
    counts = Text.assemble(
        (f"{job.videos_done} done", "green"),
        f", {len(running)} in work, {waiting} waiting, ",
        (f"{job.videos_failed} failed", "red" if job.videos_failed else ""),
        f", {job.frames:,} frames",
    )
    return Group(head, rows, counts)


def print_jobs(jobs: Sequence[Job]) -> None:
    """Print a line for each job."""
    table = Table("id", "title", "state", "done / failed / all", "progress", "frames/s", "left")
    table.add_column("submitted")
    for column in table.columns:
        column.overflow = "fold"
    for one in jobs:
        table.add_row(
            one.job_id,
            Text(one.title),
            one.state,
            f"{one.videos_done} / {one.videos_failed} / {one.videos}",
            f"{one.progress:.1%}",
            f"{one.frames_per_second:.0f}" if one.frames_per_second else "",
            duration(one.remaining_seconds),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one.submitted_ns / 1e9)),
        )
    _console().print(table)


def print_job(job: Job) -> None:
    """Print a job with all its videos and what was left out."""
    print_jobs([job])
    console = _console()
    table = Table("video", "state", "frames", "time", "what was wrong, or where results are")
    for column in table.columns:
        column.overflow = "fold"
    for one in job.listed:
        table.add_row(
            Text(one.path), one.state, _frames(one), duration(one.seconds), Text(_told(one))
        )
    for file in job.left_out:
        table.add_row(Text(file.path), "left out", "", "", Text(file.reason))
    console.print(table)
    _print_report(console, job)


def print_summary(job: Job) -> None:
    """Print what became of a job: counts, and each file that was not analyzed with its reason."""
    console = Console(soft_wrap=True)
    for one in job.listed:
        if one.state == "failed":
            console.print(f"{one.path}: FAILED: {one.message}", markup=False, highlight=False)
    for file in job.left_out:
        console.print(f"{file.path}: left out: {file.reason}", markup=False, highlight=False)
    console.print(
        f"{job.job_id} {job.state}: {job.videos_done} of {job.videos} videos done, "
        f"{job.videos_failed} failed, {len(job.left_out)} files left out, {job.frames:,} frames",
        markup=False,
        highlight=False,
    )
    _print_report(console, job)


def duration(seconds: float) -> str:
    """Tell a time as h:mm:ss; empty for none."""
    if seconds <= 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _add_bar(
    rows: Table, name: Text, share: float, counted: str, speed: str, remaining_seconds: float
) -> None:
    left = duration(remaining_seconds)
    bar = ProgressBar(total=1.0, completed=min(1.0, share), width=30)
    rows.add_row(name, bar, counted, speed, f"{left} left" if left else "")


def _frames(one: JobVideo) -> str:
    return (
        f"{one.frames:,} ({one.resumed_frames:,} before)"
        if one.resumed_frames
        else (f"{one.frames:,}")
    )


def _told(one: JobVideo) -> str:
    return "\n".join(filter(None, (one.message, *one.files[:1])))


def _speed(frames_per_second: float) -> str:
    return f"{frames_per_second:.0f} frames/s" if frames_per_second else ""


def _print_report(console: Console, job: Job) -> None:
    if job.report:
        console.print(f"report {job.report}", markup=False, highlight=False)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=200)

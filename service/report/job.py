"""The report of a job: what became of each video, and what the animals did across all of them."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from service.bouts import total_statistics
from service.report.job_plot import draw_job
from service.report.job_videos import JobVideo, measure_videos
from service.report.page import Picture, Table, drawn_address, write_page
from service.report.values import ReportedVideo
from service.report.words import duration_text, number_text, seconds_text, share_text
from service.results.plan import JOB_REPORT, REPORT_ENDING

_TEMPLATE = Path(__file__).parent / "job.html.jinja"


@dataclass(frozen=True, slots=True)
class _Section:
    """What the page tells of one behavior bundle."""

    title: str
    tables: tuple[Table, Table]


def write_job_report(videos: Sequence[ReportedVideo], out: Path, *, title: str) -> Path:
    """Write `out`/report.html, which holds its picture and needs no network.

    It links to the files of the videos, relative to `out`. Records are read one at a time.

    Args:
        videos: of the job, in its order.
        out: folder, made where it is missing.
        title: names the job.

    Returns:
        The page.
    """
    measured = measure_videos(videos)
    picture = None
    if measured:
        picture = Picture(
            drawn_address(partial(draw_job, measured)),
            "State and frames/s of each video, and for each behavior the time spent and the number "
            "of bouts in each video",
            "Videos by their number in the table below; light gray: no answer",
        )
    return write_page(
        _TEMPLATE,
        out / JOB_REPORT,
        title=title,
        totals=_totals(measured),
        undone=_undone_table(measured),
        picture=picture,
        videos=_video_table(measured, out),
        sections=_sections(measured),
    )


def _totals(videos: Sequence[JobVideo]) -> Table:
    states = Counter(one.video.state for one in videos)
    seconds = sum(one.video.seconds for one in videos if one.analyzed_frames)
    frames = sum(one.analyzed_frames for one in videos)
    hours = np.nansum([one.duration_s for one in videos]) / 3600
    rows = [
        ("videos", f"{len(videos):,}"),
        *((state, f"{count:,}") for state, count in sorted(states.items())),
        ("frames", f"{sum(one.frames for one in videos):,}"),
        ("frames without pixels", f"{sum(one.frames_without_pixels for one in videos):,}"),
        ("hours of video", number_text(float(hours), 2)),
        ("frames analyzed now", f"{frames:,}"),
        ("time of all analyses", duration_text(seconds)),
        ("frames/s of one analysis, mean", number_text(frames / seconds if seconds else np.nan)),
    ]
    return Table(head=(), rows=tuple(rows))


def _undone_table(videos: Sequence[JobVideo]) -> Table | None:
    rows = [
        (str(one.number), one.name, one.video.state, one.message)
        for one in videos
        if one.video.state in ("failed", "cancelled", "busy")
        or (one.video.state == "skipped" and one.video.record is None)  # left out, not finished
    ]
    if not rows:
        return None
    return Table(head=("number", "video", "state", "why"), rows=tuple(rows), text_columns=(1, 2, 3))


def _video_table(videos: Sequence[JobVideo], out: Path) -> Table:
    poses = list(dict.fromkeys(key for one in videos for key in one.confident))
    rows = [
        (
            str(one.number),
            _name_cell(one, out),
            one.video.state,
            f"{one.frames:,}",
            f"{one.frames_without_pixels:,}",
            duration_text(one.duration_s),
            seconds_text(one.video.seconds) if one.video.seconds else "-",
            number_text(one.frames_per_s),
            one.decoder or "-",
            *(share_text(one.confident.get(key, np.nan)) for key in poses),
            one.message,
            _files_cell(one.video, out),
        )
        for one in videos
    ]
    head = (
        "number",
        "video",
        "state",
        "frames",
        "without pixels",
        "duration",
        "seconds",
        "frames/s",
        "decoder",
        *(f"confident points, {key}" for key in poses),
        "message",
        "files",
    )
    return Table(head=head, rows=tuple(rows), text_columns=(1, 2, 8, len(head) - 2, len(head) - 1))


def _name_cell(one: JobVideo, out: Path) -> str:
    report = next((path for path in one.video.files if path.endswith(REPORT_ENDING)), None)
    return one.name if report is None else _link(Path(report), out, one.name)


def _files_cell(video: ReportedVideo, out: Path) -> str:
    files = [Path(path) for path in video.files if not path.endswith(REPORT_ENDING)]
    return Markup(", ").join(_link(path, out, path.name) for path in files)


def _link(path: Path, out: Path, text: str) -> Markup:
    # Bytes, since a file name may be no text; a colon in it must not look like a protocol.
    target = quote(os.fsencode(os.path.relpath(path, out)))
    return Markup('<a href="{}">{}</a>').format(target, text)


def _sections(videos: Sequence[JobVideo]) -> list[_Section]:
    behaviors = {key: bouts.behaviors for one in videos for key, bouts in one.bouts.items()}
    sections = []
    for key, names in behaviors.items():
        answered = [one for one in videos if key in one.bouts]
        tables = (_summary_table(answered, key, names), _behavior_table(answered, key, names))
        sections.append(_Section(key, tables))
    return sections


def _summary_table(videos: Sequence[JobVideo], key: str, names: tuple[str, ...]) -> Table:
    """Each behavior over all videos."""
    parts = [one.bouts[key].statistics for one in videos]
    total = total_statistics(parts)
    spent_s = np.stack([one.time_spent_s for one in parts])
    counts = np.stack([one.count for one in parts])
    rows = [
        (
            name,
            f"{int((counts[:, place] > 0).sum())} of {len(parts)}",
            f"{total.count[place]:,}",
            number_text(float(counts[:, place].mean())),
            seconds_text(total.mean_length_s[place]),
            seconds_text(total.time_spent_s[place]),
            share_text(total.share[place]),
            seconds_text(float(spent_s[:, place].mean())),
            seconds_text(float(np.median(spent_s[:, place]))),
            seconds_text(float(spent_s[:, place].std(ddof=1)) if len(parts) > 1 else np.nan),
        )
        for place, name in enumerate(names)
    ]
    return Table(
        head=(
            "behavior",
            "in videos",
            "bouts",
            "a video",
            "mean length (s)",
            "time spent (s)",
            "share",
            "mean of videos (s)",
            "median (s)",
            "SD (s)",
        ),
        rows=tuple(rows),
        caption="All videos together; bouts after the bout rule",
    )


def _behavior_table(videos: Sequence[JobVideo], key: str, names: tuple[str, ...]) -> Table:
    """Time spent and bouts of each behavior in each video."""
    rows = []
    for one in videos:
        bouts = one.bouts[key]
        cells = []
        for place in range(len(names)):
            cells.append(seconds_text(bouts.statistics.time_spent_s[place]))
            cells.append(str(bouts.statistics.count[place]))
        answered_s = seconds_text(bouts.statistics.watched_s)
        rows.append((str(one.number), one.name, answered_s, *cells))
    head = [f"{name}, {what}" for name in names for what in ("s", "bouts")]
    return Table(
        head=("number", "video", "answered (s)", *head),
        rows=tuple(rows),
        caption="Time spent (s) and number of bouts in each video",
        text_columns=(1,),
    )

"""What the page of many videos tells of them."""

from collections.abc import Sequence
from pathlib import Path

from service.jobs.planning import LeftOut
from service.jobs.reports import VideoReport
from service.report.values import ReportedVideo


def reported(
    reports: Sequence[VideoReport], left_out: Sequence[LeftOut]
) -> tuple[ReportedVideo, ...]:
    """Return the videos of a job, then the files that were not analyzed, each with the reason."""
    return (
        *(_reported(one) for one in reports),
        *(ReportedVideo(video=one.path, state="skipped", message=one.reason) for one in left_out),
    )


def _reported(report: VideoReport) -> ReportedVideo:
    return ReportedVideo(
        video=report.video,
        state=report.state,
        frames=report.frames,
        seconds=report.seconds,
        decoder=report.decoder,
        message=report.message,
        files=report.files,
        statuses=report.statuses,
        resumed_frames=report.resumed_frames,
        record=Path(report.files[0]) if report.files else None,
    )

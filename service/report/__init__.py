"""Reports for people: one HTML page of a video, and one of a job of many videos.

`video` and `job` write them; `poses`, `bouts` and `job_videos` measure what their tables tell,
`stills` and `job_plot` draw what `service.drawing` does not, and `page` makes pages, also those of
the training's reports.
"""

from service.report.job import write_job_report
from service.report.values import ReportedVideo
from service.report.video import report_path, write_video_report

__all__ = ["ReportedVideo", "report_path", "write_job_report", "write_video_report"]

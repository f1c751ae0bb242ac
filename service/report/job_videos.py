"""What a job report says of each video, measured from its record, one record at a time."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import EthostreamError
from service.report.bouts import VideoBouts, measure_bouts
from service.report.poses import confident_share
from service.report.values import ReportedVideo
from service.results import VideoResults, read_results
from service.results.rows import row_edges_s
from service.values import FrameStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVideo:
    """One video of the job; of one without a record only what its report says."""

    number: int
    """From 1, in the order of the job."""
    video: ReportedVideo
    name: str
    """Its path from the folder that all videos of the job have in common."""
    frames: int
    duration_s: float
    """NaN where it is not known."""
    decoder: str
    statuses: dict[str, int]
    """Frames by what decoding gave."""
    confident: dict[str, float]
    """Share of keypoints at or above the cut-off, by pose bundle."""
    bouts: dict[str, VideoBouts]
    """By behavior bundle."""
    message: str
    """The report's own message, and why the record cannot be read."""

    @property
    def analyzed_frames(self) -> int:
        """Without those that an earlier run had left."""
        return self.frames - self.video.resumed_frames if self.video.seconds > 0 else 0

    @property
    def frames_per_s(self) -> float:
        """Of its analysis; NaN where nothing was analyzed now."""
        return self.analyzed_frames / self.video.seconds if self.analyzed_frames else float("nan")

    @property
    def frames_without_pixels(self) -> int:
        """Missing and corrupt ones."""
        return sum(
            self.statuses.get(one.name.lower(), 0) for one in FrameStatus if not one.has_pixels
        )


def measure_videos(videos: Sequence[ReportedVideo]) -> list[JobVideo]:
    """Measure the videos of a job; a record that cannot be read is noted and stops nothing."""
    names = _short_names([one.video for one in videos])
    return [
        _measure(number, video, name)
        for number, (video, name) in enumerate(zip(videos, names, strict=True), start=1)
    ]


def _measure(number: int, video: ReportedVideo, name: str) -> JobVideo:
    results, message = None, video.message
    if video.record is not None:
        try:
            results = read_results(video.record)
        except (EthostreamError, OSError) as error:
            message = "; ".join(filter(None, (message, f"no statistics: {error}")))
    if results is None:
        return JobVideo(
            number=number,
            video=video,
            name=name,
            frames=video.frames,
            duration_s=float("nan"),
            decoder=video.decoder,
            statuses=video.statuses,
            confident={},
            bouts={},
            message=message,
        )
    edges_s = row_edges_s(results)
    return JobVideo(
        number=number,
        video=video,
        name=name,
        frames=len(results),
        duration_s=float(edges_s[-1] - edges_s[0]),
        decoder=video.decoder or results.provenance.info.decoder,
        statuses=video.statuses or _count_statuses(results),
        confident={
            str(answered.key): confident_share(answered, poses)
            for answered, poses in results.pose_answers()
        },
        bouts={
            str(answered.key): measure_bouts(results, answered, found)
            for answered, found in results.behavior_answers()
        },
        message=message,
    )


def _count_statuses(results: VideoResults) -> dict[str, int]:
    counts = Counter(results.status.tolist())
    return {one.name.lower(): counts[one] for one in FrameStatus if counts[one]}


def _short_names(paths: Sequence[str]) -> list[str]:
    whole = [Path(os.path.normpath(Path(path).absolute())) for path in paths]
    common = os.path.commonpath([path.parent for path in whole]) if whole else ""
    return [str(path.relative_to(common)) for path in whole]

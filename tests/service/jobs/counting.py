"""An analyzer whose rows can be worked out by hand."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np

from service.errors import DecoderFailed, InvalidVideo
from service.jobs.analyzer import Finished, Resume, Started
from service.results import AnsweredBundle, AnsweredPose, RequestOptions
from service.results.video_results import ChunkLike
from service.values import FrameFault, FrameStatus, PoseColumns, Poses, ResultChunk, VideoInfo

FRAMES = 12
BUNDLE = AnsweredBundle(
    name="mouse",
    version=1,
    manifest_sha256="a" * 64,
    engine="fake:cpu",
    precision="fp32",
    pose=AnsweredPose(keypoints=("snout", "tailbase")),
)


class CountingAnalyzer:
    """Answers with x = 20, y = the frame's number, in chunks of five.

    Videos named `bad` fail in the middle; in `scratched`, frame 7 is damaged; at `deadly` the
    decoder dies at frame 5 as often as `deaths` says; `buggy` meets a bug.

    Args:
        bundle: that answers.
        decoder: that it says to read with.
        hang_at: frame before which it waits until `goes_on` is set.
        deaths: of the decoder at `deadly`.
    """

    def __init__(
        self,
        bundle: AnsweredBundle = BUNDLE,
        *,
        decoder: str = "pyav",
        hang_at: int = -1,
        deaths: int = 0,
    ) -> None:
        self.bundles = (bundle,)
        self.analyzed: list[str] = []
        self.first_frames: list[int] = []
        self.last_poses: list[tuple[tuple[int, Poses], ...]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.hangs = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._decoder = decoder
        self._hang_at = hang_at
        self._deaths = deaths

    def can_resume(self, options: RequestOptions) -> bool:
        return True

    async def analyze(
        self, video: Path, options: RequestOptions, resume: Resume | None = None
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        self.analyzed.append(video.name)
        self.first_frames.append(resume.frame_index if resume else 0)
        self.last_poses.append(resume.last_poses if resume else ())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield Started(VideoInfo(64, 64, 30.0, FRAMES, "h264", self._decoder), self.bundles)
            end = options.frame_limit or FRAMES
            for first in range(self.first_frames[-1], end, 5):
                await asyncio.sleep(0.02)
                if first == self._hang_at:
                    self.hangs.set()
                    await self.goes_on.wait()
                if video.stem == "deadly" and first == 5 and self._deaths:
                    self._deaths -= 1
                    raise DecoderFailed(f"the decode process was ended by signal 9 at {video}")
                if video.stem == "buggy":
                    raise ValueError("no such branch")
                if video.stem == "bad" and first:
                    raise InvalidVideo(f"{video} is cut off after frame {first}")
                yield self._chunk(np.arange(first, min(first + 5, end)), video)
            yield Finished("")
        finally:
            self.at_once -= 1

    def _chunk(
        self, index: "np.ndarray[tuple[int], np.dtype[np.int64]]", video: Path
    ) -> ResultChunk:
        shape = (len(index), 1, 2)
        keypoints_xy = np.full((*shape, 2), 20, np.float32)
        keypoints_xy[..., 1] = index[:, None, None]
        status = np.full(len(index), FrameStatus.OK, np.uint8)
        faults = ()
        if video.stem == "scratched" and 7 in index:
            status[index == 7] = FrameStatus.CORRUPT
            keypoints_xy[index == 7] = np.nan
            faults = (FrameFault(7, FrameStatus.CORRUPT, "is scratched"),)
        confidence = np.where(np.isnan(keypoints_xy[..., 0]), np.nan, 1).astype(np.float32)
        poses = PoseColumns(self.bundles[0].key, keypoints_xy, confidence)
        return ResultChunk(index, index * 33_000_000, status, (poses,), faults=faults)

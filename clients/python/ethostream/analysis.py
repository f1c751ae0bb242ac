"""The analysis of one video: its result chunks as they come, or all of them gathered."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ethostream import messages
from ethostream.errors import ServerFailed
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import (
    BehaviorColumns,
    BundleInfo,
    PoseColumns,
    ResultChunk,
    VideoFinished,
    VideoInfo,
    VideoStarted,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class AsyncAnalysis:
    """The analysis of one video; made by `AsyncClient.analyze`, iterate over its chunks.

    Leaving the iteration early and calling `aclose` stops the analysis on the server.
    """

    def __init__(self, responses: AsyncGenerator[pb.AnalyzeVideoResponse, None]) -> None:
        self._responses = responses
        self.started: VideoStarted | None = None
        """The video and the resolved bundles; there after `open` or the first chunk."""
        self.finished: VideoFinished | None = None
        """Counts and what was wrong with the file; there after the last chunk."""

    async def open(self) -> VideoStarted:
        """Upload where asked to, wait until the analysis begins, and return what is known.

        Raises:
            EthostreamError: The server refuses or is not there.
        """
        if self.started is None:
            async for response in self._responses:
                self.started = messages.video_started(response.started)
                break
        if self.started is None:
            raise ServerFailed("the server ended the analysis before it began")
        return self.started

    def __aiter__(self) -> AsyncIterator[ResultChunk]:
        """Iterate over the result chunks."""
        return self

    async def __anext__(self) -> ResultChunk:
        """The next result chunk.

        Raises:
            EthostreamError: The analysis failed.
        """
        await self.open()
        async for response in self._responses:
            if response.WhichOneof("response") == "chunk":
                return messages.result_chunk(response.chunk)
            self.finished = messages.video_finished(response.finished)
        if self.finished is None:
            raise ServerFailed("the server ended the analysis without its last message")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop the analysis."""
        await self._responses.aclose()


@dataclass(frozen=True, slots=True)
class VideoResults:
    """All results of one video; every column has a row for each of its T frames."""

    started: VideoStarted
    finished: VideoFinished
    rows: ResultChunk
    """All chunks joined."""

    @property
    def info(self) -> VideoInfo:
        """The video."""
        return self.started.info

    @property
    def bundles(self) -> tuple[BundleInfo, ...]:
        """The bundles with resolved versions."""
        return self.started.bundles

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """(T,) in presentation order of the file, from 0."""
        return self.rows.frame_index

    @property
    def pts_ns(self) -> NDArray[np.int64]:
        """(T,) presentation times, ns."""
        return self.rows.pts_ns

    @property
    def status(self) -> NDArray[np.uint8]:
        """(T,) numbers of FrameStatus."""
        return self.rows.status

    @property
    def poses(self) -> tuple[PoseColumns, ...]:
        """One per pose bundle."""
        return self.rows.poses

    @property
    def behaviors(self) -> tuple[BehaviorColumns, ...]:
        """One per behavior bundle."""
        return self.rows.behaviors

    @classmethod
    async def gather(cls, analysis: AsyncAnalysis) -> "VideoResults":
        """Run an analysis to its end and join its chunks."""
        started = await analysis.open()
        chunks = [chunk async for chunk in analysis]
        assert analysis.finished is not None  # else the iteration would have raised
        return cls(started=started, finished=analysis.finished, rows=join_chunks(chunks))

    def to_pandas(self) -> "pd.DataFrame":
        """The results as one table.

        Returns:
            One row per frame, indexed by frame_index. Columns have four levels: bundle, animal,
            name (keypoint or behavior) and value (x_px, y_px, confidence; probability, present,
            status); pts_ns and status of the frame stand under the bundle "video".

        Raises:
            PartMissing: pandas is not installed.
        """
        from ethostream.views import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> "xr.Dataset":
        """The results as labelled arrays.

        Returns:
            A dataset over `frame` with pts_ns and status, and per bundle
            `<name>.keypoints_xy` (frame, animal, keypoint, xy) and `<name>.confidence`, or
            `<name>.probability` (frame, behavior), `<name>.present` and `<name>.status`.

        Raises:
            PartMissing: xarray is not installed.
        """
        from ethostream.views import to_xarray

        return to_xarray(self)


def join_chunks(chunks: Sequence[ResultChunk]) -> ResultChunk:
    """One chunk that holds the rows of all, in order; empty for no chunks."""
    if not chunks:
        nothing = np.empty(0, dtype=np.int64)
        return ResultChunk(nothing, nothing, np.empty(0, dtype=np.uint8))
    return ResultChunk(
        frame_index=np.concatenate([chunk.frame_index for chunk in chunks]),
        pts_ns=np.concatenate([chunk.pts_ns for chunk in chunks]),
        status=np.concatenate([chunk.status for chunk in chunks]),
        poses=tuple(
            PoseColumns(
                bundle=columns[0].bundle,
                keypoints_xy=np.concatenate([part.keypoints_xy for part in columns]),
                confidence=np.concatenate([part.confidence for part in columns]),
            )
            for columns in zip(*(chunk.poses for chunk in chunks), strict=True)
        ),
        behaviors=tuple(
            BehaviorColumns(
                bundle=columns[0].bundle,
                status=np.concatenate([part.status for part in columns]),
                probabilities=np.concatenate([part.probabilities for part in columns]),
                present=np.concatenate([part.present for part in columns]),
                bouts=tuple(one for part in columns for one in part.bouts),
            )
            for columns in zip(*(chunk.behaviors for chunk in chunks), strict=True)
        ),
        faults=tuple(one for chunk in chunks for one in chunk.faults),
    )

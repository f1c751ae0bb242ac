"""The chunks of a video become arrays, one set of results, tables."""

import sys
from collections.abc import AsyncIterator

import numpy as np
import pandas as pd
import pytest
from ethostream import errors
from ethostream.analysis import AsyncAnalysis, VideoResults
from ethostream.client import AsyncClient
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.values import FrameStatus

from tests.clients.conftest import BEHAVIOR, POSE


def _chunk(first: int, frames: int) -> pb.AnalyzeVideoResponse:
    """Frame t has its keypoint k of animal n at x = 100 t + 10 n + k, y = -x."""
    x = [
        100.0 * t + 10 * n + k for t in range(first, first + frames) for n in (0, 1) for k in (0, 1)
    ]
    pose = pb.PoseColumns(
        bundle=POSE.bundle,
        animals=2,
        keypoints=2,
        x_px=x,
        y_px=[-value for value in x],
        confidence=[0.5] * len(x),
    )
    behavior = pb.BehaviorColumns(
        bundle=BEHAVIOR.bundle,
        behaviors=3,
        status=[1] * frames,
        probabilities=[0.25 * c for _ in range(frames) for c in range(3)],
        present=[c == 2 for _ in range(frames) for c in range(3)],
    )
    chunk = pb.ResultChunk(
        frame_index=range(first, first + frames),
        pts_ns=[t * 40_000_000 for t in range(first, first + frames)],
        status=[1] * frames,
        poses=[pose],
        behaviors=[behavior],
    )
    return pb.AnalyzeVideoResponse(chunk=chunk)


STARTED = pb.AnalyzeVideoResponse(
    started=pb.VideoStarted(
        video=pb.VideoInfo(width_px=64, height_px=48, frame_rate_hz=25, codec="h264"),
        bundles=[POSE, BEHAVIOR],
        strides=[1, 2],
    )
)
FINISHED = pb.AnalyzeVideoResponse(finished=pb.VideoFinished(frames=5, frames_ok=5, total_ns=9))


async def _responses(*responses: pb.AnalyzeVideoResponse) -> AsyncIterator[pb.AnalyzeVideoResponse]:
    for response in responses:
        yield response


async def _results() -> VideoResults:
    return await VideoResults.gather(
        AsyncAnalysis(_responses(STARTED, _chunk(0, 3), _chunk(3, 2), FINISHED))
    )


async def test_chunks_come_as_arrays_between_start_and_end() -> None:
    analysis = AsyncAnalysis(_responses(STARTED, _chunk(0, 3), _chunk(3, 2), FINISHED))
    assert analysis.started is None
    chunks = [chunk async for chunk in analysis]
    assert analysis.started is not None
    assert analysis.started.info.frame_rate_hz == 25
    assert analysis.started.strides == (1, 2)
    assert analysis.finished is not None
    assert analysis.finished.frames_ok == 5
    assert [len(chunk.frame_index) for chunk in chunks] == [3, 2]
    assert chunks[1].poses[0].keypoints_xy.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(chunks[1].poses[0].keypoints_xy[0, 1, 1], [311, -311])
    assert chunks[0].behaviors[0].probabilities.shape == (3, 3)
    assert chunks[0].status.tolist() == [FrameStatus.OK] * 3


async def test_all_chunks_are_joined_in_order() -> None:
    results = await _results()
    assert results.frame_index.tolist() == [0, 1, 2, 3, 4]
    assert results.poses[0].keypoints_xy[:, 0, 0, 0].tolist() == [0, 100, 200, 300, 400]
    assert results.behaviors[0].present.shape == (5, 3)
    assert results.finished.frames == 5


async def test_a_video_without_frames_gives_empty_results() -> None:
    results = await VideoResults.gather(AsyncAnalysis(_responses(STARTED, FINISHED)))
    assert results.frame_index.shape == (0,)
    assert results.to_pandas().empty


async def test_an_analysis_that_stops_half_way_is_an_error() -> None:
    with pytest.raises(errors.ServerFailed, match="last message"):
        await VideoResults.gather(AsyncAnalysis(_responses(STARTED, _chunk(0, 3))))
    with pytest.raises(errors.ServerFailed, match="before it began"):
        await AsyncAnalysis(_responses()).open()


async def test_the_table_names_every_value() -> None:
    table = (await _results()).to_pandas()
    assert table.index.tolist() == [0, 1, 2, 3, 4]
    assert table[("mouse@2", "animal1", "tail", "y_px")].tolist() == [-11, -111, -211, -311, -411]
    assert table[("cage@1", "", "groom", "probability")].tolist() == [0.5] * 5
    assert table[("cage@1", "", "groom", "present")].all()
    assert table[("video", "", "", "pts_ns")].iloc[4] == 160_000_000
    assert isinstance(table, pd.DataFrame)
    assert table.columns.names == ["bundle", "animal", "name", "value"]


async def test_the_labelled_arrays_name_every_axis() -> None:
    pytest.importorskip("xarray", reason="run `uv sync --inexact --group dev`")
    dataset = (await _results()).to_xarray()
    point = dataset["mouse.keypoints_xy"].sel(
        {"frame": 3, "mouse.animal": 1, "mouse.keypoint": "tail", "xy": "x_px"}
    )
    assert float(point) == 311
    rear = dataset["cage.probability"].sel({"frame": 0, "cage.behavior": "rear"})
    assert float(rear) == 0.25
    assert dataset.attrs["frame_rate_hz"] == 25


@pytest.mark.parametrize("name", ["pandas", "xarray"])
async def test_a_view_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    results = await _results()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.PartMissing, match=r"pip install ethostream\[views\]"):
        getattr(results, f"to_{name}")()


@pytest.mark.parametrize(
    "options", [{}, {"path": "a", "upload_id": "b"}, {"path": "a", "frame_limit": -1}]
)
async def test_a_wrong_call_is_told_before_connecting(options) -> None:
    with pytest.raises(errors.InvalidRequest):
        AsyncClient("127.0.0.1:1").analyze(bundles="mouse", **options)

"""An archive whose frames stay on the GPU gives the very rows of one whose frames come to the host.

The GPU is emulated; DALI, workers and the scheduler are real.
"""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.archive import (
    ArchiveConfig,
    VideoAnalysis,
    VideoFinished,
    VideoOptions,
    VideoStarted,
)
from service.config import ServiceConfig
from service.engine import create_engine
from service.engine.device import Rows
from service.repository import EngineConfig, LoadedBundle, Selection
from service.runtime import Runtime, local_runtime
from service.scheduler import Graph, Scheduler
from service.values import BehaviorStatus, FrameStatus, ResultChunk
from service.video import DecodeWorkers
from tests.conftest import REPOSITORY
from tests.service.conftest import CENTERED, OnDevice
from tests.service.test_archive import columns
from tests.service.video.barcode import read_barcode
from tests.service.video.corpus import write_video

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

FRAMES = 300


def put_on_device(*bundles: LoadedBundle) -> list[OnDevice]:
    graphs = [graph for one in bundles for graph in one.graphs.values()]
    for graph in graphs:
        graph.engine = OnDevice(graph.engine)
        if graph.name.endswith("/flow"):
            graph.engine.keep_on_device(["flows"])
    return [graph.engine for graph in graphs]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By the decoder that takes it."""
    folder = tmp_path_factory.mktemp("device")
    kinds = {
        "dali": ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        "nvcodec": ("h264.mp4", {"options": {"bf": "3", "g": "12"}}),
        "pyav": ("h264-too.mp4", {"options": {"bf": "3", "g": "12"}}),
    }
    return {
        decoder: write_video(folder / name, frames=FRAMES, size=(128, 96), **settings)
        for decoder, (name, settings) in kinds.items()
    }


@pytest.fixture
async def analyze(scheduler: Scheduler, videos: dict[str, Path]):
    async def run(
        *bundles: LoadedBundle,
        decoder: str = "dali",
        at_chunk: Callable[[DecodeWorkers, int], None] = lambda *_: None,
    ) -> list[ResultChunk]:
        threads = ThreadPoolExecutor(1)
        async with DecodeWorkers(1, slots=4, decoder=decoder) as workers:
            analysis = VideoAnalysis(
                VideoOptions(selections=tuple(map(Selection, bundles))),
                scheduler,
                workers,
                ArchiveConfig(frames_per_chunk=50),
                threads,
            )
            chunks = []
            async for event in analysis.run(videos[decoder]):
                if isinstance(event, ResultChunk):
                    at_chunk(workers, len(chunks))
                    chunks.append(event)
            assert isinstance(event, VideoFinished)
            assert event.frames[FrameStatus.OK] == FRAMES
        threads.shutdown()
        return chunks

    return run


@pytest.mark.parametrize("decoder", ["dali", "nvcodec"])
@pytest.mark.parametrize("changes", [{}, CENTERED])
async def test_rows_are_those_of_frames_that_came_to_the_host(
    changes: dict, decoder: str, emulate_gpu, analyze, pose_bundle: LoadedBundle, behavior_bundle
) -> None:
    emulate_gpu()
    behavior = behavior_bundle(**changes)
    expected = columns(await analyze(pose_bundle, behavior, decoder=decoder))
    assert len({tuple(xy) for xy in expected["keypoints_xy"][:, 0, 0].tolist()}) > 3
    engines = put_on_device(pose_bundle, behavior)
    found = columns(await analyze(pose_bundle, behavior, decoder=decoder))
    assert {kind for one in engines for kind in one.seen | one.flows_seen} == {Rows}
    assert any(one.flows_seen for one in engines)
    for name, values in expected.items():
        assert np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f"), name


async def test_frames_of_the_host_go_to_the_gpu_once_for_all_their_windows(
    emulate_gpu, analyze, pose_bundle: LoadedBundle, behavior_bundle
) -> None:
    emulate_gpu()
    behavior = behavior_bundle(**CENTERED)
    expected = columns(await analyze(pose_bundle, behavior, decoder="pyav"))
    engines = put_on_device(behavior)
    found = columns(await analyze(pose_bundle, behavior, decoder="pyav"))
    assert {kind for one in engines for kind in one.seen | one.flows_seen} == {Rows}
    for name, values in expected.items():
        assert np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f"), name


async def test_a_loaded_bundle_keeps_its_flows_on_the_gpu(emulate_gpu, videos) -> None:
    """The shipped bundle's own graphs, in ONNX Runtime behind the emulated memory."""
    emulate_gpu()
    engines: dict[str, OnDevice] = {}
    names = ["openfield-mouse", "openfield-activity"]

    def create(graph: Path, **settings: Any) -> OnDevice:
        engines[graph.stem] = OnDevice(create_engine(graph, **settings))
        return engines[graph.stem]

    config = ServiceConfig(engine=EngineConfig(engine="onnxruntime"))
    found = []
    for how in (create, create_engine):
        runtime = Runtime(REPOSITORY / "deploy" / "models", config, create=how)
        await runtime.start()
        await runtime.load(names)
        options = VideoOptions(selections=runtime.select(names), frame_limit=30, frame_rate_hz=30.0)
        events = [event async for event in runtime.analyze(videos["nvcodec"], options)]
        found.append(columns([one for one in events if isinstance(one, ResultChunk)]))
        await runtime.stop()
    assert engines["features"].flows_seen == {Rows, np.ndarray}  # arrays came at the warm-up
    assert engines["flow"].seen == {Rows, np.ndarray}
    for name, values in found[1].items():
        assert np.array_equal(found[0][name], values, equal_nan=values.dtype.kind == "f"), name


async def test_a_bundle_on_the_cpu_brings_all_frames_to_the_host(
    emulate_gpu, analyze, pose_bundle: LoadedBundle, behavior_bundle
) -> None:
    emulate_gpu()
    engines = put_on_device(pose_bundle)
    await analyze(pose_bundle, behavior_bundle())
    assert engines[0].seen == {np.ndarray}


async def test_windows_hold_frames_of_both_where_a_worker_dies(
    emulate_gpu, analyze, pose_bundle: LoadedBundle, behavior_bundle
) -> None:
    emulate_gpu()
    behavior = behavior_bundle(**CENTERED)
    engines = put_on_device(pose_bundle, behavior)

    def kill(workers: DecodeWorkers, chunk: int) -> None:
        if chunk == 1:
            (process_id,) = workers.process_ids
            os.kill(process_id, signal.SIGKILL)

    found = columns(await analyze(pose_bundle, behavior, at_chunk=kill))
    pose, flow, *_ = engines
    assert pose.seen == {Rows, np.ndarray}
    assert set(found["behavior_status"].tolist()) == {BehaviorStatus.OK}
    assert found["frame_index"].tolist() == list(range(FRAMES))
    windows = [[read_barcode(one[..., 0]) for one in window] for window in flow.looked_at]
    outside = [None, None]  # what fills a window at either end shows no number
    recording = [*outside, *range(FRAMES), *outside]
    assert sorted(windows, key=_middle) == [recording[one : one + 5] for one in range(FRAMES)]


@pytest.mark.needs_gpu
async def test_a_gpu_gives_the_rows_of_frames_that_came_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "h264.mp4", frames=FRAMES, size=(640, 480))
    config = ServiceConfig(engine=EngineConfig(engine="onnxruntime:cuda"))
    names = ("openfield-mouse", "openfield-activity")
    found = []
    async with local_runtime(REPOSITORY / "deploy" / "models", config=config) as runtime:
        for on_device in (True, False):
            if not on_device:
                monkeypatch.setattr(Graph, "takes_device_rows", False)
            options = VideoOptions(selections=runtime.select(names))
            events = [event async for event in runtime.analyze(path, options)]
            assert isinstance(events[0], VideoStarted)
            assert events[0].info.decoder.startswith("dali")
            chunks = [event for event in events if isinstance(event, ResultChunk)]
            found.append(columns(chunks))
    for name, values in found[0].items():
        assert np.array_equal(found[1][name], values, equal_nan=values.dtype.kind == "f"), name


def _middle(window: list[int | None]) -> int:
    number = window[len(window) // 2]
    assert number is not None
    return number

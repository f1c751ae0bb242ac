"""A video that goes on from its middle gives the very rows of one that was never interrupted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from service.archive import ArchiveConfig, VideoAnalysis, VideoFinished, VideoOptions
from service.engine import Tensors
from service.errors import InvalidRequest
from service.repository import LoadedBundle, Selection
from service.scheduler import Scheduler
from service.values import FrameStatus, ResultChunk
from service.video import DecodeWorkers
from tests.service.conftest import CENTERED, ArithmeticEngine

FRAMES = 90
DAMAGED = (0, 31, 32, 50, 51, 52, 53, 54)
"""Frames without pixels: the first, a short gap, and one that ends the window."""
MEMORY = 3


class ForgettingEngine(ArithmeticEngine):
    """A sequence that sums the features of the last frames, and keeps them as its state."""

    def run(self, inputs: Tensors) -> Tensors:
        features, state = inputs["features"], inputs["state"]
        assert features.shape[1] == 1
        kept = np.concatenate([state.reshape(len(state), MEMORY, -1), features], axis=1)
        # The order of the sum is that of the frames, whatever came before them.
        logits = np.add.reduce(kept, axis=1, keepdims=True) / 100
        return {"logits": logits, "next_state": kept[:, 1:].reshape(len(state), -1)}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "levels.avi"
    levels = np.random.default_rng(1).integers(0, 200, FRAMES)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=60)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for index, level in enumerate(levels.tolist()):
            pixels = np.full((64, 96, 3), level, np.uint8)
            pixels[index % 64, index % 96] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                if index in DAMAGED:
                    broken = av.Packet(b"\xff\xd8 this is no picture")
                    broken.pts, broken.dts = packet.pts, packet.dts
                    broken.time_base, broken.stream = packet.time_base, stream
                    packet = broken
                container.mux(packet)
    return path


@pytest.fixture
async def analyze(scheduler: Scheduler, video: Path):
    workers, threads = DecodeWorkers(1), ThreadPoolExecutor(1)

    async def run(**options: object) -> tuple[list[ResultChunk], VideoFinished]:
        analysis = VideoAnalysis(
            VideoOptions(**options), scheduler, workers, ArchiveConfig(frames_per_chunk=7), threads
        )
        events = [event async for event in analysis.run(video)]
        assert isinstance(events[-1], VideoFinished)
        return [one for one in events if isinstance(one, ResultChunk)], events[-1]

    yield run
    await workers.close()
    threads.shutdown()


def columns(chunks: list[ResultChunk]) -> dict[str, np.ndarray]:
    return {
        "frame_index": np.concatenate([one.frame_index for one in chunks]),
        "pts_ns": np.concatenate([one.pts_ns for one in chunks]),
        "status": np.concatenate([one.status for one in chunks]),
        "keypoints_xy": np.concatenate([one.poses[0].keypoints_xy for one in chunks]),
        "behavior_status": np.concatenate([one.behaviors[0].status for one in chunks]),
        "probabilities": np.concatenate([one.behaviors[0].probabilities for one in chunks]),
        "faults": np.array([fault.frame_index for one in chunks for fault in one.faults]),
    }


def forgetting(make: Callable[..., LoadedBundle]) -> LoadedBundle:
    bundle = make(state_size=2 * MEMORY, state_frames=MEMORY)
    bundle.graphs["sequence"].engine = ForgettingEngine("sequence")
    return bundle


@pytest.mark.parametrize("frame_rate_hz", [30.0, 60.0])
@pytest.mark.parametrize("kind", ["remembers all", "forgets", "window", "none"])
async def test_rows_are_the_same_wherever_it_goes_on(
    kind: str, frame_rate_hz: float, pose_bundle: LoadedBundle, behavior_bundle, analyze
) -> None:
    match kind:
        case "remembers all":
            behavior = behavior_bundle()
        case "forgets":
            behavior = forgetting(behavior_bundle)
        case "window":
            behavior = behavior_bundle(**CENTERED)
        case _:
            behavior = behavior_bundle(sequence="none", state_size=0)
    options = {
        "selections": (Selection(pose_bundle), Selection(behavior)),
        "frame_rate_hz": frame_rate_hz,
        "first_frame": 0,
    }
    chunks, finished = await analyze(**options)
    whole = columns(chunks)
    assert whole["frame_index"].tolist() == list(range(FRAMES))
    assert whole["faults"].tolist() == list(DAMAGED)
    assert finished.frames[FrameStatus.CORRUPT] == len(DAMAGED)
    for resume in (1, 6, 31, 32, 33, 48, 51, 55, 58, 77, 88, FRAMES - 1):
        chunks, finished = await analyze(**options, resume_frame=resume)
        part = columns(chunks)
        assert part["frame_index"].tolist() == list(range(resume, FRAMES))
        assert sum(finished.frames.values()) == FRAMES - resume
        for name, rows in part.items():
            want = whole[name]
            want = want[want >= resume] if name == "faults" else want[resume:]
            np.testing.assert_array_equal(rows, want, f"{name} from {resume} on")


async def test_nothing_is_computed_twice_but_what_the_first_rows_look_back_at(
    behavior_bundle, analyze
) -> None:
    behavior = forgetting(behavior_bundle)
    await analyze(selections=(Selection(behavior),), resume_frame=80, frame_rate_hz=30.0)
    assert behavior.graphs["sequence"].engine.rows == 0  # its rows are not counted
    context = 2 + MEMORY + 4  # flows, memory, a gap of two and a held frame at each side
    assert behavior.graphs["features"].engine.rows <= FRAMES - 80 + context


async def test_a_video_whose_rows_are_all_there_ends_at_once(pose_bundle, analyze) -> None:
    selections = (Selection(pose_bundle),)
    assert (await analyze(selections=selections, resume_frame=FRAMES))[0] == []
    chunks, _ = await analyze(selections=selections, first_frame=10, frame_limit=20)
    assert chunks[-1].frame_index[-1] == 29
    options = {"first_frame": 10, "frame_limit": 20, "selections": selections}
    assert (await analyze(**options, resume_frame=30))[0] == []
    chunks, _ = await analyze(**options, resume_frame=25)
    assert np.concatenate([one.frame_index for one in chunks]).tolist() == [25, 26, 27, 28, 29]


async def test_bouts_cannot_be_told_from_the_middle_on(behavior_bundle, analyze) -> None:
    selection = Selection(behavior_bundle(), bout_events=True)
    with pytest.raises(InvalidRequest, match="leave resume_frame out"):
        await analyze(selections=(selection,), resume_frame=5)

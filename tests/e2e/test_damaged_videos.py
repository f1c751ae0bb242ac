"""A camera loses nothing while its server is given one damaged video after the other."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from ethostream.v1 import inference_service_pb2 as pb2

from tests.e2e.conftest import RunningServer
from tests.e2e.wire import POSE, frame_message, read_frames, selection, start_message
from tests.service.video.clips import find_clip
from tests.service.video.corpus import write_clip
from tests.service.video.fuzz import find_packets, flip_bits

TIMEOUT_S = 600  # of all videos together, on a machine that does much else
FRAME_PERIOD_S = 0.04
# Enough to know that a video is decoded; those that are known as damaged are read whole.
FRAME_LIMIT = 8
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}
FUZZED = ("h264 with B-frames", "h264 in ts", "hevc in mkv", "mpeg4 in avi", "mjpeg", "vp9")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said of a video."""

    frames: int = 0
    ok: int = 0
    refusal: str = ""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def damage_server(start_server: Callable[..., RunningServer], root: Path) -> RunningServer:
    return start_server("--root", str(root))


def analyze(server: RunningServer, path: str, frame_limit: int = 0) -> Answer:
    request = pb2.AnalyzeVideoRequest(path=path, bundles=[selection(POSE)], frame_limit=frame_limit)
    refusal = None
    try:
        answers = list(server.inference.AnalyzeVideo(request, timeout=TIMEOUT_S))
    except grpc.RpcError as error:
        refusal = error
    if refusal is not None:
        assert refusal.code() in REFUSALS, f"{path}: {refusal.code()}: {refusal.details()}"
        assert path in refusal.details()
        return Answer(refusal=refusal.details())
    indices = [index for one in answers for index in one.chunk.frame_index]
    finished = answers[-1].finished
    assert indices == list(range(finished.frames))
    assert finished.frames_ok + finished.frames_failed == finished.frames
    assert finished.frames_failed == 0 or finished.message
    return Answer(finished.frames, finished.frames_ok)


@contextmanager
def camera(server: RunningServer, recording: Path) -> Iterator[None]:
    """Stream frames until the end of the context; every one of them must have its result."""
    frames = read_frames(recording)
    over = threading.Event()
    sent = 0

    def messages() -> Iterator[pb2.StreamFramesRequest]:
        nonlocal sent
        yield start_message(POSE)
        while not over.is_set():
            yield frame_message(sent, frames[sent % len(frames)])
            sent += 1
            time.sleep(FRAME_PERIOD_S)

    def watch() -> list[pb2.StreamFramesResponse]:
        return list(server.inference.StreamFrames(messages(), timeout=TIMEOUT_S))

    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
        answers = stream.result(TIMEOUT_S)
    outcomes = [one.outcome for one in answers if one.HasField("outcome")]
    assert [one.frame_index for one in outcomes] == list(range(sent))
    assert all(one.HasField("result") for one in outcomes)
    assert answers[-1].ended.frames_result == sent > 0


@pytest.mark.real_data
def test_every_video_of_others_ends_in_frames_or_a_refusal(
    damage_server: RunningServer, root: Path, recordings: Path, shared_data: Path
) -> None:
    source = shared_data / "decode-vectors"
    expected = {}
    for line in (source / "manifest.csv").read_text().splitlines()[1:]:
        name, _, codec, *_, frames, _, _, _, _ = line.split(",")
        place = name.replace("/", "_")
        shutil.copy(source / name, root / place)
        expected[place] = -1 if codec == "unknown" else int(frames or 0)
    with camera(damage_server, recordings / "short.mp4"):
        for place, frames in expected.items():
            limit = 0 if "truncated" in place else FRAME_LIMIT
            answer = analyze(damage_server, place, limit)
            if frames == 0:
                assert answer.refusal, place
            elif limit:
                wanted = FRAME_LIMIT if frames < 0 else min(frames, FRAME_LIMIT)
                assert answer == Answer(wanted, wanted), place
            else:
                assert answer.ok >= frames - 1, place
    assert damage_server.process.poll() is None


def test_videos_with_flipped_bits_disturb_no_stream(
    damage_server: RunningServer, root: Path, recordings: Path
) -> None:
    variants = []
    for name in FUZZED:
        whole = write_clip(find_clip(name), root)
        data, packets = whole.read_bytes(), find_packets(whole)
        for seed in range(4):
            variants.append(f"{whole.stem}_{seed}{whole.suffix}")
            (root / variants[-1]).write_bytes(flip_bits(data, packets, seed)[0])
    with camera(damage_server, recordings / "short.mp4"):
        answers = [analyze(damage_server, path) for path in variants]
    assert sum(answer.ok > 0 for answer in answers) > len(answers) // 2
    assert damage_server.process.poll() is None

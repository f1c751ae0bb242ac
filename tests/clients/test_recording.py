"""A recording holds every frame that was sent, and survives the death of its process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from ethostream.errors import InvalidFrame, InvalidRequest, PartMissing
from ethostream.ledger import BehaviorResult, FrameOutcome
from ethostream.recording import Recorder, answer_line
from ethostream.values import BehaviorStatus, PoseResult


def _frames(count: int, *, color: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    shape = (48, 66, 3) if color else (48, 66)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def _read(path: Path, *, color: bool) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24" if color else "gray")
            for frame in container.decode(video=0)
        ]


def _lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("color", [True, False])
def test_every_bit_of_every_frame_is_kept(tmp_path: Path, color: bool) -> None:
    frames = _frames(12, color=color)
    with Recorder(tmp_path / "new" / "run", frame_rate_hz=100.0) as recorder:
        for index, frame in enumerate(frames):
            recorder.frame(index * 2, index * 10_000_000, frame)
    kept = _read(tmp_path / "new" / "run" / "video.mkv", color=color)
    np.testing.assert_array_equal(kept, frames)
    lines = _lines(tmp_path / "new" / "run")
    assert [line["video_frame"] for line in lines] == list(range(12))
    assert [line["frame_index"] for line in lines] == list(range(0, 24, 2))


@pytest.mark.parametrize("rate_hz", [0.0, 29.97, 500.0, 5000.0])
def test_h264_keeps_the_number_of_frames_at_any_rate(tmp_path: Path, rate_hz: float) -> None:
    with Recorder(tmp_path, frame_rate_hz=rate_hz, codec="h264") as recorder:
        for index, frame in enumerate(_frames(20, color=True)):
            recorder.frame(index, 0, frame)
    assert len(_read(tmp_path / "video.mkv", color=True)) == 20


def _kill_when_there(script: str, *arguments: str) -> None:
    """Run a script until it prints `there`."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == "there\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)


def test_a_killed_process_leaves_its_frames_and_answers(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
import numpy as np
from ethostream.recording import Recorder
recorder = Recorder(Path(sys.argv[1]), frame_rate_hz=100.0)
for index in range(1000):
    recorder.frame(index, 0, np.full((48, 64), index % 256, dtype=np.uint8))
    recorder.line({"kind": "outcome", "frame_index": index})
    if index == 200:
        print("there", flush=True)
    time.sleep(0.002 if index < 200 else 0.01)
"""
    _kill_when_there(script, str(tmp_path))
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    frames = sum(line["kind"] == "frame" for line in recorded)
    assert frames >= 201
    assert sum(line["kind"] == "outcome" for line in recorded) >= 200
    kept = _read(tmp_path / "video.mkv", color=False)
    assert len(kept) >= frames - 1
    for index, frame in enumerate(kept):
        assert (frame == index % 256).all()


@pytest.mark.parametrize("codec", ["ffv1", "h264"])
@pytest.mark.parametrize("rate_hz", [0.0, 1.0, 500.0])
def test_a_killed_process_loses_one_frame_however_long_the_next_one_takes(
    tmp_path: Path, rate_hz: float, codec: str
) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from ethostream.recording import Recorder
recorder = Recorder(Path(sys.argv[1]), frame_rate_hz=float(sys.argv[2]), codec=sys.argv[3])
for index in range(7):
    recorder.frame(index, 0, np.full((48, 64), index, dtype=np.uint8))
print("there", flush=True)
sys.stdin.read()
"""
    _kill_when_there(script, str(tmp_path), str(rate_hz), codec)
    assert len(_lines(tmp_path)) == 7
    assert len(_read(tmp_path / "video.mkv", color=False)) >= 6


def test_image_files_are_decoded_into_the_recording(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="run `uv sync --inexact`")
    frames = _frames(3, color=True)
    with Recorder(tmp_path, frame_rate_hz=30.0) as recorder:
        for index, frame in enumerate(frames):
            data = cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes()
            recorder.frame(index, 0, data)
        with pytest.raises(InvalidFrame, match="cannot be read"):
            recorder.frame(3, 0, b"\x89PNG nothing")
    np.testing.assert_array_equal(_read(tmp_path / "video.mkv", color=True), frames)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path, frame_rate_hz=30.0) as recorder:
        recorder.frame(0, 0, np.zeros((48, 64), dtype=np.uint8))
        with pytest.raises(InvalidFrame, match=r"\(48, 66\)"):
            recorder.frame(1, 0, np.zeros((48, 66), dtype=np.uint8))


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    with Recorder(tmp_path, frame_rate_hz=30.0) as recorder:
        recorder.line({"kind": "started"})
    with pytest.raises(InvalidRequest, match="holds a recording already"):
        Recorder(tmp_path, frame_rate_hz=30.0)
    assert _lines(tmp_path) == [{"kind": "started"}]


def test_without_pyav_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PartMissing, match=r"pip install 'ethostream\[video\]'"):
        Recorder(tmp_path, frame_rate_hz=30.0)


def test_answers_become_lines_of_json() -> None:
    pose = PoseResult(
        "mouse", 1, np.ones((1, 2, 2), dtype=np.float32), np.zeros((1, 2), dtype=np.float32)
    )
    outcome = json.loads(json.dumps(answer_line(FrameOutcome(3, 4, "result", poses=(pose,)))))
    assert (outcome["kind"], outcome["outcome"], outcome["frame_index"]) == ("outcome", "result", 3)
    assert outcome["poses"][0]["keypoints_xy"] == [[[1, 1], [1, 1]]]
    result = BehaviorResult(
        3, 4, "cage", 1, ("rest",), BehaviorStatus.NO_CONTEXT, None, None, latency_ns=0
    )
    line = json.loads(json.dumps(answer_line(result)))
    assert (line["kind"], line["status"], line["probabilities"]) == ("behavior", "no_context", None)

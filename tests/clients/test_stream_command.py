"""`ethostream stream` sends a source and shows what comes back."""

import asyncio
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from ethostream import commands, errors, sources
from ethostream.sources import ImageFolder, open_source
from ethostream.stream_command import _JpegEncoder

from tests.clients.conftest import answer_all, serving
from tests.clients.network_cameras import rtsp_camera


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """30 frames of 64 x 48 px at 50 frames a second, each brighter than the last."""
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(30):
            pixels = np.full((48, 64, 3), 40 + 5 * index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


async def _stream(*arguments: str) -> tuple[int, str]:
    """Run the command against a server that answers everything."""
    async with serving(answer_all) as server:
        call = ["stream", "--server", server.address, "--model", "mouse", *arguments]
        status = await asyncio.to_thread(commands.main, call)
    return status, server.starts[0].camera if server.starts else ""


async def test_a_video_is_sent_frame_by_frame_and_every_answer_is_a_line(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, camera = await _stream(str(video), "--rate", "0", "--json", "--camera", "left")
    assert (status, camera) == (0, "left")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    outcomes = [line for line in lines if line["kind"] == "outcome"]
    assert [line["frame_index"] for line in outcomes] == list(range(30))
    assert sum(line["kind"] == "behavior" for line in lines) == 30
    assert lines[-1]["kind"] == "summary"
    assert (lines[-1]["accepted"], lines[-1]["results"], lines[-1]["lost"]) == (30, 30, 0)
    assert 0 < lines[-1]["p50_ms"] <= lines[-1]["p99_ms"]


async def test_a_dynamic_crop_is_asked_for_with_its_margin(video: Path) -> None:
    async with serving(answer_all) as server:
        call = ["stream", str(video), "--server", server.address, "--model", "mouse", "--rate", "0"]
        for extra in ([], ["--dynamic-crop"], ["--dynamic-crop", "0", "--max-zoom", "3"]):
            assert await asyncio.to_thread(commands.main, [*call, *extra]) == 0
        plain, usual, chosen = server.starts
    assert not plain.HasField("dynamic_crop")
    assert usual.dynamic_crop.margin_px == 50
    assert not usual.dynamic_crop.HasField("confidence_cutoff")
    assert chosen.dynamic_crop.HasField("margin_px")
    assert (chosen.dynamic_crop.margin_px, chosen.dynamic_crop.max_zoom) == (0, 3)


async def test_a_video_is_paced_at_its_own_rate(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = await _stream(str(video), "--frame-limit", "20", "--json")
    assert status == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["accepted"] == 20
    assert summary["seconds"] >= 19 / 50


@pytest.mark.parametrize(
    ("options", "declared_hz"),
    [
        ([], 50),
        (["--rate", "0"], 50),
        (["--rate", "200"], 50),
        (["--rate", "0", "--frame-rate", "25"], 25),
    ],
)
async def test_the_rate_of_a_video_is_its_own_whatever_the_pace(
    video: Path, tmp_path: Path, options: list[str], declared_hz: float
) -> None:
    folder = tmp_path / "kept"
    async with serving(answer_all) as server:
        call = ["stream", str(video), "--server", server.address, "--model", "cage", *options]
        assert await asyncio.to_thread(commands.main, [*call, "--record", str(folder)]) == 0
    assert server.starts[0].frame_rate_hz == declared_hz
    with av.open(str(folder / "video.mkv")) as kept:
        assert float(kept.streams.video[0].average_rate) == declared_hz


@pytest.mark.parametrize(
    ("options", "declared_hz"),
    [([], 60), (["--rate", "0"], 60), (["--rate", "30"], 30), (["--rate", "500"], 60)],
)
async def test_the_rate_of_a_camera_is_what_it_tells_or_less_where_less_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: list[str], declared_hz: float
) -> None:
    device = ("testsrc=rate=60:size=64x48", "lavfi")  # it takes no notice of the rate asked of it
    monkeypatch.setattr(sources, "_camera", lambda _: device)
    async with serving(answer_all) as server:
        call = ["stream", "0", "--server", server.address, "--model", "cage", "--frame-limit", "3"]
        assert await asyncio.to_thread(commands.main, [*call, *options]) == 0
    assert server.starts[0].frame_rate_hz == declared_hz


async def test_a_rate_that_is_not_known_is_told_where_behavior_goes_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="run `uv sync --inexact`")
    cv2.imwrite(str(tmp_path / "frame.png"), np.zeros((8, 8), dtype=np.uint8))
    for options, warnings in ([], 1), (["--rate", "30"], 1), (["--frame-rate", "30"], 0):
        status, _ = await _stream(str(tmp_path), *options)
        assert status == 0
        told = capsys.readouterr().err
        assert told.count("\n") == warnings
        assert told.count("cage@1 takes it for its own") == warnings


async def test_people_see_a_summary(video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = await _stream(str(video), "--rate", "0", "--color", "gray", "--jpeg", "90")
    assert status == 0
    assert "30 frames sent: 30 analyzed, 0 skipped, 0 failed, 0 lost" in capsys.readouterr().out


async def test_a_recording_holds_the_frames_and_their_answers(video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    status, _ = await _stream(str(video), "--rate", "0", "--record", str(folder), "--json")
    assert status == 0
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("started", "summary")
    assert kinds.count("frame") == kinds.count("outcome") == kinds.count("behavior") == 30
    with av.open(str(folder / "video.mkv")) as kept, av.open(str(video)) as source:
        for ours, theirs in zip(kept.decode(video=0), source.decode(video=0), strict=True):
            difference = ours.to_ndarray(format="rgb24").astype(int) - theirs.to_ndarray(
                format="rgb24"
            )
            assert abs(difference).max() <= 2  # the decoder's rounding of color, done twice


async def test_what_came_before_a_camera_broke_off_is_finished_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "_SILENCE_SECONDS", 4.0)
    folder = tmp_path / "kept"
    with rtsp_camera(12, stays_silent=True) as address:
        status, _ = await _stream(address, "--record", str(folder), "--json")
    assert status != 0
    told = capsys.readouterr()
    assert "broke off: nothing came for 4 s" in told.err
    assert "secret" not in told.err
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert json.loads(told.out.splitlines()[-1]) == lines[-1]
    assert (lines[-1]["kind"], lines[-1]["results"], lines[-1]["lost"]) == ("summary", 12, 0)
    with av.open(str(folder / "video.mkv")) as kept:
        assert sum(1 for _ in kept.decode(video=0)) == 12


async def test_a_folder_is_sent_in_the_order_of_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="run `uv sync --inexact`")
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.zeros((8, 8), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    names = [path.name for path in ImageFolder(tmp_path).files]
    assert names == ["frame1.png", "frame2.png", "frame10.png"]
    status, _ = await _stream(str(tmp_path), "--rate", "0")
    assert status == 0
    assert "3 frames sent: 3 analyzed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.mp4"], "no camera, file or folder 'missing.mp4'"),
        (["{folder}"], "no JPEG or PNG files"),
        (["{text}"], "cannot open"),
        (["{video}", "--jpeg", "0"], "--jpeg 0 is outside 1..100"),
        (["{video}", "--token-file", "none.txt"], "cannot read the token file none.txt"),
        (["{video}", "--tls-root", "none.pem"], "cannot read none.pem"),
    ],
)
async def test_what_cannot_be_sent_is_told_in_one_line(
    video: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    names = {"folder": tmp_path / "empty", "video": video, "text": tmp_path / "text.mp4"}
    status, _ = await _stream(*[argument.format(**names) for argument in arguments])
    error = capsys.readouterr().err
    assert status == 1
    assert error.startswith("ethostream: ")
    assert text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--frame-limit", "--rate"])
def test_a_number_below_zero_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        commands.main(["stream", "a.mp4", option, "-3"])
    assert f"argument {option}: -3 is negative; give 0 or more" in capsys.readouterr().err


def test_no_server_is_told_in_one_line(video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["stream", str(video), "--server", "127.0.0.1:1", "--model", "mouse"]
    assert commands.main(call) == 1
    assert "no server answers at 127.0.0.1:1" in capsys.readouterr().err


def test_video_without_pyav_says_what_to_install(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(errors.PartMissing, match=r"pip install 'ethostream\[video\]'"):
        open_source(str(video))


@pytest.mark.parametrize("color", [True, False])
def test_jpeg_frames_look_like_what_was_sent(color: bool) -> None:
    cv2 = pytest.importorskip("cv2", reason="run `uv sync --inexact`")
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
    pixels = np.stack([ramp, ramp[:, ::-1], ramp], axis=-1) if color else ramp
    encoder = _JpegEncoder(95)
    for _ in range(3):
        data = encoder.encode(pixels)
        read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        expected = pixels if color else np.stack([ramp] * 3, axis=-1)
        assert abs(read.astype(int) - expected).mean() < 3
    assert len(_JpegEncoder(10).encode(pixels)) < len(data)

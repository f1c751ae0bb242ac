"""Edited videos hold the frames that were asked for; each frame of the source shows its number."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import InvalidRequest
from service.preprocess import CropRegion
from service.video.pyav import VideoFile
from service.video_tools import VideoEdit, edit_video

FRAMES, RATE_HZ = 60, 30


def write(path: Path, times: list[int], *, size: tuple[int, int] = (96, 64)) -> Path:
    """Frame n has n in 6 dark and bright bars at the bottom, and a square; times in 1/30 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "1", "bf": "2"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, time in enumerate(times):
            pixels = np.full((size[1], size[0], 3), 60, np.uint8)
            for bit in range(6):
                pixels[44:, 16 * bit : 16 * (bit + 1)] = 220 * (number >> bit & 1)
            pixels[24:32, 40:48] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write(tmp_path / "a.mp4", list(range(FRAMES)))


def read(path: Path) -> tuple[list[int], list[NDArray[np.uint8]], list[float]]:
    """Numbers that the frames show, their pixels, their times in s."""
    file = VideoFile(path)
    numbers, pictures, times = [], [], []
    for row in file.rows():
        pixels = np.empty(file.shape, np.uint8)
        file.convert(row.picture, pixels)
        line = pixels[pixels.shape[0] * 54 // 64, :, 0]
        bits = line[[len(line) * (2 * bit + 1) // 12 for bit in range(6)]] > 110
        numbers.append(sum(1 << bit for bit in range(6) if bits[bit]))
        pictures.append(pixels)
        times.append(row.pts_ns / 1e9)
    return numbers, pictures, times


@pytest.mark.parametrize(
    "edit",
    [
        VideoEdit(start_frame=11, stop_frame=31),
        VideoEdit(start_s=11 / 30, stop_s=31 / 30),
    ],
)
def test_a_stretch_is_exact_to_the_frame_and_begins_at_zero(
    video: Path, tmp_path: Path, edit: VideoEdit
) -> None:
    made = edit_video(video, tmp_path / "short.mp4", edit)
    numbers, _, times = read(made.out)
    assert numbers == list(range(11, 31))
    assert made.frames == 20
    np.testing.assert_allclose(times, np.arange(20) / RATE_HZ, atol=1e-4)


def test_an_area_is_cut_out_in_its_place(video: Path, tmp_path: Path) -> None:
    made = edit_video(video, tmp_path / "b.mp4", VideoEdit(crop=CropRegion(32, 16, 32, 24)))
    _, pictures, _ = read(made.out)
    assert len(pictures) == FRAMES
    assert pictures[0].shape == (24, 32, 3)
    bright = np.argwhere(pictures[0][..., 0] > 150)
    assert bright.min(axis=0).tolist() == [8, 8]
    assert bright.max(axis=0).tolist() == [15, 15]


def test_fewer_px_and_frames_keep_content_and_length(video: Path, tmp_path: Path) -> None:
    edit = VideoEdit(width_px=48, height_px=32, frame_rate_hz=10)
    made = edit_video(video, tmp_path / "small.mp4", edit)
    numbers, pictures, times = read(made.out)
    assert numbers == list(range(0, FRAMES, 3))
    np.testing.assert_allclose(times, np.arange(20) / 10, atol=1e-4)
    bright = np.argwhere(pictures[0][..., 0] > 150)
    assert bright.min(axis=0).tolist() == [12, 20]


def test_an_uneven_rate_keeps_one_frame_for_each_moment(video: Path, tmp_path: Path) -> None:
    made = edit_video(video, tmp_path / "small.mp4", VideoEdit(frame_rate_hz=12))
    numbers, _, times = read(made.out)
    assert made.frames == 24
    np.testing.assert_allclose(times, np.arange(24) / 12, atol=1e-4)
    assert np.abs(np.array(numbers) / 30 - times).max() < 1 / 30 + 1e-3


def test_nothing_is_overwritten_unasked_nor_the_video_itself(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(InvalidRequest, match="exists already"):
        edit_video(video, out, VideoEdit(stop_frame=5))
    assert out.read_bytes() == b"precious"
    with pytest.raises(InvalidRequest, match="part of itself"):
        edit_video(video, video, VideoEdit(stop_frame=5), overwrite=True)
    assert edit_video(video, out, VideoEdit(stop_frame=5), overwrite=True).frames == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": CropRegion(90, 0, 20, 20)}, "not inside the 96x64"),
        ({"crop": CropRegion(0, 0, 33, 20)}, "give 32x20"),
        ({"width_px": 192, "height_px": 128}, "is more than the 96x64"),
        ({"frame_rate_hz": 60}, "give --frame-rate below it"),
        ({"start_frame": 60}, "none of them"),
        ({"start_s": 3.0}, "none of them"),
    ],
)
def test_a_part_that_the_video_does_not_have_is_refused_and_leaves_no_file(
    video: Path, tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        edit_video(video, tmp_path / "b.mp4", VideoEdit(**values))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    "values",
    [
        {"start_s": 2.0, "stop_s": 1.0},
        {"start_frame": -1},
        {"quality": 60},
        {"width_px": 4},
        {"start_s": math.nan},
        {"stop_s": math.nan},
        {"frame_rate_hz": math.nan},
        {"frame_rate_hz": math.inf},
    ],
)
def test_a_setting_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest):
        VideoEdit(**values)


def test_damaged_frames_are_left_out(video: Path, tmp_path: Path) -> None:
    data = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        packet = list(container.demux(video=0))[20]
        place, size = packet.pos, packet.size
    data[place + 5 : place + size] = bytes(size - 5)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    made = edit_video(broken, tmp_path / "b.mp4", VideoEdit(width_px=48, height_px=32))
    assert made.frames_left_out > 0
    assert made.frames + made.frames_left_out == FRAMES

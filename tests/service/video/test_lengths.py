"""A file that was cut off is known by its length, also where its container lists no frames."""

from pathlib import Path

import pytest

from service.video.lengths import is_cut_off
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import write_clip, write_video
from tests.service.video.reading import see


def split_riff(path: Path) -> None:
    """Turn an AVI file into two RIFF chunks, as those over 1 GiB are, and leave its index out."""
    data = path.read_bytes()
    movi = data.index(b"movi")
    end = movi + int.from_bytes(data[movi - 4 : movi], "little")
    middle = data.index(b"00dc", (movi + end) // 2)
    first, second = data[movi:middle], b"movi" + data[middle:end]
    path.write_bytes(
        riff(b"AVI ", data[12 : movi - 8] + list_chunk(first)) + riff(b"AVIX", list_chunk(second))
    )


def riff(kind: bytes, content: bytes) -> bytes:
    return b"RIFF" + (len(content) + 4).to_bytes(4, "little") + kind + content


def list_chunk(content: bytes) -> bytes:
    return b"LIST" + len(content).to_bytes(4, "little") + content


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "name", ["h264 in mkv", "vp9", "mjpeg", "h264 in avi", "h264 index in front"]
)
def test_a_file_that_lost_its_end_is_cut_off(tmp_path: Path, name: str) -> None:
    path = write_clip(find_clip(name), tmp_path)
    whole = VideoFile(path)
    assert not whole.index.is_cut_off
    cut(path, 0.8)
    assert VideoFile(path).index.is_cut_off


def test_all_parts_of_a_large_avi_file_count(tmp_path: Path) -> None:
    path = write_clip(find_clip("mjpeg"), tmp_path)
    split_riff(path)
    video = VideoFile(path)
    assert [one.number for one in see(video)] == list(range(40))
    assert not video.index.is_cut_off
    cut(path, 0.9)
    video = VideoFile(path)
    assert video.index.is_cut_off
    assert video.frames == 40
    assert video.index.missing > 0


def test_a_recording_that_was_never_ended_claims_no_length(tmp_path: Path) -> None:
    mkv, avi = tmp_path / "a.mkv", tmp_path / "a.avi"
    data = bytearray(write_video(mkv).read_bytes())
    place = data.index(b"\x18\x53\x80\x67") + 4
    data[place : place + 8] = b"\x01" + 7 * b"\xff"
    mkv.write_bytes(data[: len(data) * 8 // 10])
    assert not is_cut_off(mkv, "matroska,webm")
    data = bytearray(write_video(avi).read_bytes())
    data[4:8] = 4 * b"\xff"
    avi.write_bytes(data[: len(data) * 8 // 10])
    assert not is_cut_off(avi, "avi")

"""The table of decoders: every row beside bare loops over the same frames."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import decode
from benchmarks.recordings import make_recordings
from service.values import FrameStatus
from service.video.pyav import VideoFile


def test_recordings_repeat_their_pictures_and_are_made_once(tmp_path: Path) -> None:
    paths = make_recordings(tmp_path, ("h264", "vp9"), (160, 120), 8, 3)
    for path in paths.values():
        video = VideoFile(path)
        rows = [(row.frame_index, row.status) for row in video.rows()]
        assert rows == [(index, FrameStatus.OK) for index in range(24)]
        times_ns = [row.pts_ns for row in video.rows()]
        assert times_ns == pytest.approx([index * 1e9 / 30 for index in range(24)], abs=2e6)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert make_recordings(tmp_path, ("h264", "vp9"), (160, 120), 8, 3) == paths
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made


def test_the_command_writes_the_rows_that_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "decode.json"
    monkeypatch.setitem(decode._LENGTHS, "160x120", (8, 2))
    arguments = ["--codecs", "mjpeg", "--sizes", "160x120", "--threads", "1", "2", "--turns", "1"]
    monkeypatch.setattr(sys, "argv", ["decode", *arguments, "--out", str(out)])
    assert decode.main() == 0
    result = json.loads(out.read_text())
    assert result == json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = [
        (row["decoder"], row["sessions"], row["color"], row["threads"]) for row in result["rows"]
    ]
    expected = [
        (decoder, files, color, threads)
        for color in ("rgb", "gray")
        for threads in (1, 2)
        for decoder, files in (("bare pyav", 1), ("bare opencv", 1), ("pyav", 1), ("pyav", 2))
        if files <= threads
    ]
    assert [row for row in rows if row[0] in ("bare pyav", "bare opencv", "pyav")] == expected
    for row in result["rows"]:
        assert (row["codec"], row["size"]) == ("mjpeg", "160x120")
        assert row["frames_per_s"] > 0
        assert row["ratio_to_fastest_bare"] > 0
    for row in result["rows"][:2]:
        assert row["ratio_to_fastest_bare"] <= 1

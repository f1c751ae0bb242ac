"""A server under high load answers every frame and keeps its memory."""

import json
import sys

import pytest

from benchmarks import soak
from benchmarks.memory import MemorySamples
from benchmarks.open_loop import Answered, StreamRecord


def test_frames_that_were_not_computed_are_told():
    record = StreamRecord(
        [0.0, 1.0, 2.0],
        held_back=2,
        answered=[
            Answered(0, "result", "", 0.05, 0.05),
            Answered(1, "skipped", "no_credit", 1.0, 0.0),
            Answered(2, "error", "engine_failed", 2.0, 0.0),
        ],
    )
    told = soak.summarize([record], MemorySamples([0.0, 1.0], [100, 100]), capacity=50.0)[1]
    assert (told["frames"], told["lost"], told["not_computed"]) == (5, 0, 4)
    assert told["p99_ms"] == pytest.approx(50)
    assert told["rss_growth"] == 0


@pytest.mark.full
def test_no_frame_is_lost_in_twenty_seconds_at_high_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
):
    out = tmp_path / "soak.json"
    line = ["soak", "--seconds", "20", "--load", "0.8", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", line)
    soak.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads(out.read_text())
    assert told["frames"] > 100
    assert (told["lost"], told["duplicated"]) == (0, 0)
    assert told["rss_growth"] < 0.1
    assert out.with_suffix(".png").is_file()

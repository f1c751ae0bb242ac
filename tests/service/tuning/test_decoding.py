"""Decoding is timed with processes that run, on a recording that is made."""

import pytest

from service.bundle import InputSpec
from service.errors import VideoNotFound
from service.simulation import SimulationSettings
from service.tuning.decoding import make_recording, measure_decoding

INPUT = InputSpec(width_px=32, height_px=24, color="gray", fit="stretch")


async def test_each_number_of_videos_at_once_is_timed(tmp_path):
    video = make_recording(tmp_path, SimulationSettings(width_px=96, height_px=64, duration_s=1.0))
    found = [one async for one in measure_decoding(video, [INPUT], seconds=0.5, workers=(1, 2))]
    assert [one.workers for one in found] == [1, 2]
    assert all(one.frames_per_s > 0 for one in found)


async def test_a_video_that_cannot_be_read_is_told_and_not_waited_for(tmp_path):
    with pytest.raises(VideoNotFound):
        async for _ in measure_decoding(tmp_path / "none.mp4", [INPUT], seconds=0.5, workers=(2,)):
            pass

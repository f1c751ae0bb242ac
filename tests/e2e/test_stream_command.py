"""`ethostream stream` against a real server."""

import json

import pytest
from ethostream import commands

from service.simulation import SimulationSettings, simulate, write_recording


@pytest.mark.parametrize("pace", [[], ["--rate", "0"], ["--rate", "300"]])
def test_a_behavior_bundle_sees_a_recording_at_its_own_rate_whatever_the_pace(
    server, tmp_path, pace
):
    settings = SimulationSettings(duration_s=0.5, frame_rate_hz=60.0)
    write_recording(simulate(settings), tmp_path, name="fast")
    kept = tmp_path / "kept"
    call = ["stream", str(tmp_path / "fast.mp4"), "--server", server.address, "--record", str(kept)]
    assert commands.main([*call, "--model", "openfield-activity", *pace]) == 0  # trained at 30 Hz
    started = json.loads((kept / "results.jsonl").read_text().splitlines()[0])
    assert started["strides"] == [2]

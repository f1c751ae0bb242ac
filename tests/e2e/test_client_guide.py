"""The Python of the clients' guide runs as it stands there, against a real server."""

import re
from pathlib import Path

import numpy as np
import pytest

from clients.testdata.encode_chunks import encode_chunks
from clients.testdata.record import BEHAVIOR, MODELS, POSE
from tests.e2e.archives import EXACT, write_clip
from tests.e2e.wire import read_frames

GUIDE = Path(__file__).resolve().parents[2] / "clients" / "README.md"
VECTORS = {"openfield-mouse": POSE, "openfield-activity": BEHAVIOR}
PROGRAMS = [
    block
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    if block.startswith("from ethostream")
]


@pytest.fixture(scope="module")
def vectors(start_server):
    return start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)


def run(words: str, address: str, capsys, bundles: dict[str, str], **given: object) -> list[str]:
    """What the one program that holds these words prints, a line each.

    `bundles` tells what to ask in place of the bundles that it names.
    """
    (code,) = (block for block in PROGRAMS if words in block)
    for old, new in {"127.0.0.1:50051": address, **bundles}.items():
        code = code.replace(f'"{old}"', f'"{new}"')
    exec(compile(code, GUIDE.name, "exec"), given)
    return capsys.readouterr().out.splitlines()


def test_every_program_of_the_guide_is_run_here():
    assert len(PROGRAMS) == 6


def test_the_stream_answers_every_frame(vectors, capsys):
    camera = [np.full((48, 64), level, np.uint8) for level in (10, 20, 30)]
    counts, *poses = run("# waits while", vectors.address, capsys, VECTORS, camera=camera)
    assert "results=3" in counts
    assert [int(line.split()[0]) for line in poses] == [0, 1, 2]


def test_the_stream_of_chunks_answers_every_picture(vectors, capsys):
    encoder = encode_chunks("h264", 8)
    encoder[5] = encoder[5][:6] + bytes(len(encoder[5]) - 6)
    counts, *damage = run("send_chunk", vectors.address, capsys, VECTORS, encoder=encoder)
    assert "chunks_acknowledged=8" in counts
    assert damage


def test_the_trigger_switches_with_the_third_frame_in_its_region(vectors, capsys):
    camera = [np.full((480, 640), 40, np.uint8) for _ in range(12)]
    for number, image in enumerate(camera):
        x_px = 280 if 2 <= number <= 6 else 20
        image[200:280, x_px : x_px + 80] = 250
    names = {**VECTORS, "snout": "bright"}
    lines = run("TriggerEvent", vectors.address, capsys, names, camera=camera)
    assert lines == ["reward 4"]


def test_the_session_gives_all_behavior_results(vectors, capsys):
    camera = [np.full((48, 64), level, np.uint8) for level in (10, 20, 30)]
    (line,) = run("client.session", vectors.address, capsys, VECTORS, camera=camera)
    assert line == "[(0, 'NO_CONTEXT'), (1, 'OK'), (2, 'NO_CONTEXT')]"


def test_the_archive_is_done_and_each_file_accounted_for(start_server, tmp_path, capsys):
    videos = tmp_path / "videos"
    write_clip(videos / "a.mp4")
    (videos / "bad.mp4").write_bytes(b"no video at all")
    (videos / "notes.txt").touch()
    folders = ("--root", str(videos), "--jobs", str(tmp_path / "jobs"))
    server = start_server(*EXACT, *folders, models=MODELS)
    names = {**VECTORS, "/data/videos": str(videos)}
    *told, failed, left_out, report = run("client.jobs", server.address, capsys, names)
    assert told[-1] == "failed 100% 1 of 2 videos "
    assert failed.startswith(f"failed: {videos}/bad.mp4 ")
    assert left_out == f"left out: {videos}/notes.txt its ending .txt is none of a video"
    assert Path(report.removeprefix("report: ")).is_file()
    assert server.stop() == 0


def test_the_script_for_dlc_live_gets_poses(server, recordings, capsys):
    frames = [one[..., ::-1] for one in read_frames(recordings / "short.mp4")[20:23]]
    lines = run("DLCLive", server.address, capsys, {}, frames=frames)
    assert len(lines) == 2 * 4  # four keypoints, a line each

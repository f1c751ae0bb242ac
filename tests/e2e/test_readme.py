"""The README's Python runs as it stands there, against a real server."""

import re
from pathlib import Path

from tests.e2e.wire import read_frames

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_rig_example_answers_every_frame(server, recordings, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    (code,) = blocks
    assert '"127.0.0.1:50051"' in code
    camera = read_frames(recordings / "short.mp4")[:20]
    here = code.replace("127.0.0.1:50051", server.address).replace('"latest"', '"all"')
    exec(compile(here, "README.md", "exec"), {"camera": camera})
    lines = capsys.readouterr().out.splitlines()
    poses = [line for line in lines if "[[" in line]
    behaviors = [line for line in lines if "locomotion" in line]
    assert [int(line.split()[0]) for line in poses] == list(range(20))
    assert [int(line.split()[0]) for line in behaviors] == list(range(4, 20))

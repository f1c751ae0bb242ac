"""The Python of the clients' guide runs as it stands there, against a real server."""

import re
from pathlib import Path

import numpy as np

from clients.testdata.record import MODELS

GUIDE = Path(__file__).resolve().parents[2] / "clients" / "README.md"


def test_the_guide_answers_every_frame(start_server, capsys):
    server = start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    (code,) = (block for block in blocks if "import Client" in block)
    here = code.replace("127.0.0.1:50051", server.address).replace(
        "openfield-mouse", "vector-points"
    )
    camera = [np.full((48, 64), level, np.uint8) for level in (10, 20, 30)]
    exec(compile(here, GUIDE.name, "exec"), {"camera": camera})
    counts, *poses = capsys.readouterr().out.splitlines()
    assert "results=3" in counts
    assert [int(line.split()[0]) for line in poses] == [0, 1, 2]

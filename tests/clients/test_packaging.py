"""A rig installs the client alone: three packages and what they need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "python"


def _run(*call: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, call)), capture_output=True, text=True, timeout=300)


@pytest.mark.full
def test_a_fresh_environment_gets_the_client_and_little_else(tmp_path: Path) -> None:
    assert _run(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    folder = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    installed = _run(folder / "python", "-m", "pip", "install", CLIENT)
    assert installed.returncode == 0, installed.stderr
    listed = _run(folder / "python", "-m", "pip", "list", "--format", "json")
    names = {package["name"].lower().replace("-", "_") for package in json.loads(listed.stdout)}
    assert names - {"pip", "setuptools"} == {
        "ethostream",
        "grpcio",
        "numpy",
        "protobuf",
        "typing_extensions",  # grpcio needs it
    }
    help_ = _run(folder / "ethostream", "--help")
    assert help_.returncode == 0
    assert "camera, a video file or an image folder" in help_.stdout
    serve = _run(folder / "ethostream", "serve")
    assert (serve.returncode, "uv sync --extra cpu" in serve.stderr) == (1, True)
    stream = _run(folder / "ethostream", "stream", __file__, "--model", "mouse")
    assert (stream.returncode, "ethostream[video]" in stream.stderr) == (1, True)
    typed = _run(folder / "python", "-c", "import ethostream as e; print(e.Client, e.AsyncClient)")
    assert typed.returncode == 0, typed.stderr

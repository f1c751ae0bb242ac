"""The files of deploy/ are those of this version."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from service.config import ServiceConfig, load_config
from service.interceptors import read_tokens

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
_WAYS = "live", "archive"


def test_the_annotated_settings_are_the_defaults():
    assert load_config(DEPLOY / "service.toml") == ServiceConfig()


def test_every_setting_is_shown():
    text = (DEPLOY / "service.toml").read_text()
    for section, settings in msgspec.to_builtins(ServiceConfig()).items():
        part = text.split(f"[{section}]")[1].split("\n[")[0]
        shown = set(re.findall(r"^(\w+) = ", part, re.M))
        assert shown == set(settings), section


def test_the_example_tokens_can_be_read():
    assert read_tokens(DEPLOY / "tokens.example.toml")["rig-1"].scopes == ("infer",)


def test_what_the_image_copies_exists():
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (.+)$", text, re.M):
        for name in line.replace("${EXTRA}", "cpu").split()[:-1]:
            assert (DEPLOY.parent / name).exists(), name


def test_the_gpu_image_brings_the_libraries_of_cuda_and_sees_the_video_decoder():
    pinned = set(
        re.findall(r"^([a-z0-9-]+)==", (DEPLOY / "requirements" / "gpu.txt").read_text(), re.M)
    )
    assert {"nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-curand"} <= pinned
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video" in (DEPLOY / "Dockerfile").read_text()


def _find_python(version: str) -> Path | None:
    """A Python of this version: on the PATH, or one that pyenv keeps."""
    found = shutil.which(f"python{version}")
    kept = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    return next((p for p in (Path(found) if found else None, *kept) if p and _runs(p)), None)


def _runs(python: Path) -> bool:
    """False for pyenv's placeholders of versions that are not chosen."""
    return subprocess.run([python, "--version"], capture_output=True).returncode == 0


@pytest.mark.full
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_images_steps_bring_a_service_that_answers_on_a_newer_python(
    version: str, tmp_path: Path
) -> None:
    python = _find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here; install it (pyenv install {version})")

    def run(*call: str | Path) -> str:
        done = subprocess.run(
            list(map(str, call)), cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    run(python, "-m", "venv", "venv")
    programs = tmp_path / "venv" / "bin"
    install = (programs / "python", "-m", "pip", "install", "--quiet")
    run(*install, "--require-hashes", "-r", DEPLOY / "requirements" / "cpu.txt")
    run(*install, "--no-deps", DEPLOY.parent / "clients" / "python", DEPLOY.parent)
    demo = (programs / "ethostream", "demo", "--models", DEPLOY / "models", "--out", "out")
    run(*demo, "--duration", "4", "--speed", "0")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (video,) = summary["videos"]
    answers = [(video[way]["answers"], video[way]["behavior_answers"]) for way in _WAYS]
    assert (summary["passed"], answers) == (True, [(120, 120)] * 2)

"""The files of deploy/ are those of this version."""

import re
from pathlib import Path

import msgspec

from service.config import ServiceConfig, load_config
from service.interceptors import read_tokens

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


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

"""The doctor finds what is there and names what brings the rest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from service.doctor import can_serve, examine

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "models"


def test_this_machine_can_serve_the_shipped_bundles():
    checks = examine(SHIPPED)
    assert can_serve(checks)
    tried = {check.name.partition("@")[0] for check in checks if check.part == "bundle"}
    assert {path.name for path in SHIPPED.iterdir()} == tried
    assert all(check.fix for check in checks if check.part != "GPU" and check.state == "missing"
               and check.name != "bf16" and check.name != "codecs")  # fmt: skip


def test_a_damaged_bundle_is_found(tmp_path):
    shutil.copytree(SHIPPED / "openfield-mouse", tmp_path / "openfield-mouse")
    graph = next(tmp_path.glob("*/*/pose.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    checks = examine(tmp_path)
    assert not can_serve(checks)
    (failed,) = [check for check in checks if check.state == "failed"]
    assert "SHA-256" in failed.detail


def test_a_folder_without_bundles_cannot_be_served(tmp_path):
    checks = examine(tmp_path)
    assert not can_serve(checks)
    (found,) = [check for check in checks if check.part == "bundle"]
    assert found.state == "missing"
    assert "bundle.json" in found.detail


def test_codecs_of_laboratory_cameras_are_decoded():
    (codecs,) = [check for check in examine(SHIPPED) if check.name == "codecs"]
    readable = codecs.detail.partition(";")[0].split(", ")
    assert {"h264", "hevc", "vp9", "mjpeg", "ffv1"} <= set(readable)


def test_an_engine_that_cannot_be_imported_is_told_and_not_raised(tmp_path):
    package = tmp_path / "openvino"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libtbb.so.12: cannot open')")
    done = subprocess.run(
        [sys.executable, "-m", "ethostream.commands", "doctor", "--json"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1, done.stderr.decode()
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["openvino"]["state"] == "failed"
    assert "libtbb.so.12" in checks["openvino"]["detail"]
    assert "--reinstall-package openvino" in checks["openvino"]["fix"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    command = [sys.executable, "-m", "ethostream.commands", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--models", str(tmp_path / "none")], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["can_serve"] is False


def test_whether_frames_can_stay_on_the_gpu_is_told(emulate_gpu, monkeypatch, tmp_path):
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho emulated, 580, 1024 MiB\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for is_full, state in ((False, "ok"), (True, "missing")):
        emulate_gpu(is_full=is_full)
        found = {one.name: one for one in examine(tmp_path) if one.part == "GPU"}
        assert found["CUDA"].detail == "emulated sm_00"
        assert found["shared memory"].state == state
    assert "OUT_OF_MEMORY" in found["shared memory"].detail

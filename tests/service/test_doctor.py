"""The doctor finds what is there and names what brings the rest."""

import json
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


def test_a_folder_that_is_not_there_is_told(tmp_path):
    command = [sys.executable, "-m", "ethostream.commands", "doctor", "--json"]
    done = subprocess.run(
        [*command, "--models", str(tmp_path / "none")], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["can_serve"] is False

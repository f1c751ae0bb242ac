"""The Node client: its own tests against real servers, its generated code, its package."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "clients" / "node"
INSTALL_S, TESTS_S = 300, 420
FAILED_TEST = re.compile(r"^\s*not ok .*?^\s*\.\.\.$", re.MULTILINE | re.DOTALL)


def run(*command: str, timeout_s: float = 60) -> str:
    """What a command prints in the package's folder; it must succeed."""
    settings = {"ETHOSTREAM_PYTHON": sys.executable, "npm_config_update_notifier": "false"}
    with subprocess.Popen(
        command,
        cwd=PACKAGE,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that what it started ends with it
        text=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
    assert process.returncode == 0, "\n".join(FAILED_TEST.findall(printed)) or printed[-6000:]
    return printed


@pytest.fixture(scope="module")
def installed() -> None:
    """The packages of the lock file."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed; install node 20.19 or later, with npm")
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", timeout_s=INSTALL_S)


def test_the_package_has_the_version_of_the_python_client_and_no_address():
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    python = (REPOSITORY / "clients" / "python" / "pyproject.toml").read_text()
    assert f'\nversion = "{version}"\n' in python
    lock = (PACKAGE / "package-lock.json").read_text()
    assert json.loads(lock)["version"] == version
    assert '"resolved"' not in lock


@pytest.mark.full
@pytest.mark.usefixtures("installed")
def test_the_generated_code_is_what_the_protos_give(tmp_path):
    buf = Path(sys.executable).with_name("buf")
    protos = ("../../protos", "--path", "../../protos/ethostream")
    run(str(buf), "generate", "--output", str(tmp_path), *protos)
    found = {path.name: path.read_text() for path in tmp_path.rglob("*.ts")}
    folder = PACKAGE / "src" / "generated"
    assert found == {path.name: path.read_text() for path in folder.rglob("*.ts")}
    assert "inference_service_pb.ts" in found


@pytest.mark.full
@pytest.mark.usefixtures("installed")
def test_its_own_tests_pass():
    printed = run("npm", "test", timeout_s=TESTS_S)
    counts = {name: int(number) for name, number in re.findall(r"^# (\w+) (\d+)$", printed, re.M)}
    assert counts["pass"] == counts["tests"] >= 50
    assert counts["fail"] == counts["skipped"] == counts["cancelled"] == 0


@pytest.mark.full
@pytest.mark.usefixtures("installed")
def test_the_package_holds_what_a_rig_needs_and_no_more():
    run("npm", "run", "build")
    (packed,) = json.loads(
        run("npm", "pack", "--dry-run", "--json", "--ignore-scripts", "--silent")
    )
    names = {one["path"] for one in packed["files"]}
    assert {"package.json", "README.md", "dist/index.js", "dist/index.d.ts"} <= names
    assert all(re.match(r"(dist|examples)/|package\.json|README\.md", name) for name in names)

"""What `--ray` refuses before there is a cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.commands._cluster import on_cluster
from service.commands._shipped import SHIPPED_MODELS
from service.config import ServiceConfig
from service.errors import BundleNotFound, EngineUnavailable
from service.jobs.finish import Outputs
from service.jobs.video import Request
from service.results import RequestOptions

REQUEST = Request(options=RequestOptions(), outputs=Outputs(()))


def choose(*names: str, models: Path = SHIPPED_MODELS) -> object:
    return on_cluster("auto", models, names, ServiceConfig(), REQUEST, parallel=1)


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("service.cluster.ray_cluster", "service.cluster.start"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(EngineUnavailable, match="uv sync --extra cluster"):
        choose()


def test_a_bundle_that_does_not_exist_is_told_before_any_machine_is_asked() -> None:
    pytest.importorskip("ray", reason="run `uv sync --inexact --extra cluster`")
    for name in ("unicorn", "openfield-mouse@99"):
        with pytest.raises(BundleNotFound, match="openfield-mouse@1") as told:
            choose(name)
        assert repr(name) in str(told.value)


def test_an_address_without_a_cluster_and_two_places_to_compute_are_refused(
    tmp_path: Path,
) -> None:
    pytest.importorskip("ray", reason="run `uv sync --inexact --extra cluster`")
    video = tmp_path / "a.mp4"
    video.write_bytes(b"never read")
    command = [sys.executable, "-m", "ethostream.commands", "analyze", str(video)]
    for options, message in (
        (("--ray", "127.0.0.1:1"), "no Ray cluster is at 127.0.0.1:1"),
        (("--ray", "auto", "--server", "127.0.0.1:1"), "leave one out"),
    ):
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_without_it_nothing_of_ray_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from ethostream.commands import main\n"
        "try: main(['analyze', sys.argv[1], '--out', sys.argv[2], '--model', 'openfield-mouse'])\n"
        "except SystemExit: pass\n"
        "print('ray' in sys.modules)"
    )
    video = tmp_path / "a.mp4"
    video.write_bytes(b"no video")
    done = subprocess.run(
        [sys.executable, "-c", code, str(video), str(tmp_path / "out")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "1 failed" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "False"

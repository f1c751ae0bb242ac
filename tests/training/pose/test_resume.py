"""Trainings that are killed or told to stop, in processes of their own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from training.runs import open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--backbone-weights random --size 96x64 --view-px 64 --views-per-epoch 8 --batch-size 2 "
    "--threads 1 --precision 32-true --epochs 6"
)


def begin(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ethostream.commands", "train", "pose"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    return output


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def weights(run: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(open_run(run).last_checkpoint, weights_only=True)
    assert stored["epoch"] == 5
    groups = stored["optimizer_states"][0]["param_groups"]
    assert [one["lr"] for one in groups] == [0.0] * len(groups)  # the schedule ended, too
    return stored["state_dict"]


@pytest.mark.full
@pytest.mark.parametrize("delay_s", [0.0, 0.37])
def test_a_training_killed_at_any_step_ends_where_an_uninterrupted_one_does(
    project: Path, tmp_path: Path, delay_s: float
) -> None:
    whole, killed = tmp_path / "runs" / "whole", tmp_path / "runs" / "killed"
    finish(begin(project, "--out", whole, *TINY.split()))
    process = begin(project, "--out", killed, *TINY.split())
    wait_for(killed / "checkpoints" / "last.ckpt", process)
    time.sleep(delay_s)
    process.kill()
    process.communicate()
    finish(begin("--out", killed, "--resume"))
    expected, found = weights(whole), weights(killed)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    table = "metrics.csv"
    assert (killed / table).read_text() == (whole / table).read_text()


@pytest.mark.full
def test_a_training_that_is_told_to_stop_says_how_to_go_on(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "stopped"
    process = begin(project, "--out", out, *TINY.replace("--epochs 6", "--epochs 500").split())
    wait_for(out / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"--resume --out {out}" in output


@pytest.mark.full
def test_two_processes_train_one_network(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "two"
    output = finish(begin(project, "--out", out, *TINY.split(), "--devices", "2"))
    assert "test: mean error" in output
    assert weights(out)
    assert len((out / "metrics.csv").read_text().splitlines()) == 7

"""A whole round of active learning through the command line, with a shipped bundle."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ethostream.commands import main
from numpy.typing import NDArray

from service.commands._shipped import SHIPPED_MODELS
from training.data.deeplabcut import read_pair, read_project
from training.data.deeplabcut_config import read_config
from training.data.write_deeplabcut import write_label_table

sio = pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")

Call = Callable[..., str]
KEYPOINTS = "snout,leftear,rightear,tailbase"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Gives a function that runs a command and returns what it prints, errors included."""

    def run(*words: str | Path, status: int = 0) -> str:
        assert main([str(word) for word in words]) == status
        return "".join(capsys.readouterr())

    return run


def points_of(truth: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    (number,) = re.findall(r"\d+", name)
    points: NDArray[np.float32] = truth[int(number)]
    return points


def label(project: Path, stem: str, names: list[str], truth: NDArray[np.float32]) -> None:
    """Place all points of these pictures where they are, as a careful person would."""
    config = read_config(project)
    rows = [(f"labeled-data/mouse/{name}", points_of(truth, name)) for name in names]
    scores = [np.ones(points.shape[:2]) for _, points in rows] if "machine" in stem else None
    path = config.labels / "mouse" / stem
    write_label_table(path, "ada", config.keypoints, config.animals, (), rows, scores)


def refine(machine: Path, out: Path, truth: NDArray[np.float32], frames: int) -> list[int]:
    """Correct the first frames of a file as SLEAP does: a user instance in place of each."""
    labels = sio.load_slp(str(machine))
    for frame in list(labels)[:frames]:
        (guess,) = frame.instances
        points = truth[frame.frame_idx, 0].astype(float)
        frame.instances = [
            sio.Instance.from_numpy(points, skeleton=guess.skeleton, from_predicted=guess)
        ]
    labels.save(str(out), format="slp", verbose=False)
    return [frame.frame_idx for frame in list(labels)[:frames]]


def test_two_rounds_of_correction_bring_the_truth_into_the_labels(
    tmp_path: Path, call: Call
) -> None:
    call("simulate", tmp_path, "--name", "mouse", "--size", "320x240", "--duration", "2",
         "--seed", "5")  # fmt: skip
    video = tmp_path / "mouse.mp4"
    with np.load(tmp_path / "mouse_truth.npz") as arrays:
        truth = np.where(arrays["visible"][..., None], arrays["keypoints_xy"], np.nan)
    made = call("project", "create", "openfield", video, "--scorer", "ada", "--keypoints",
                KEYPOINTS, "--skeleton", "snout:leftear", "--out", tmp_path / "lab")  # fmt: skip
    (project,) = (tmp_path / "lab").iterdir()
    assert f"project {project}" in made
    call("extract-frames", project, "--method", "kmeans", "--number", "4")
    folder = project / "labeled-data" / "mouse"
    first = sorted(path.name for path in folder.glob("*.png"))
    assert len(first) == 4
    label(project, "CollectedData_ada", first, truth)
    by_hand = {path: path.read_bytes() for path in folder.glob("CollectedData*")}

    call("analyze", video, "--models", SHIPPED_MODELS, "--model", "openfield-mouse",
         "--out", tmp_path / "found")  # fmt: skip
    record = tmp_path / "found" / "mouse.parquet"
    look = ("outliers", project, record, "--method", "uncertain", "--share")
    assert "3 picked" in call(*look, "0.5", "--number", "3")
    machine = read_pair(folder, "machinelabels-iter0")
    assert machine is not None
    assert machine.scorer.startswith("ethostream_openfield-mouse_v")
    second = [row.file_name for row in machine.rows]
    assert not set(second) & set(first)
    assert {path: path.read_bytes() for path in by_hand} == by_hand
    label(project, "machinelabels-iter0", second, truth)

    plan = "mouse: 3 pictures added, 0 replaced, 0 keep the labels that they have"
    for words, status in ((["--dry-run"], 0), ([], 1)):
        printed = call("project", "merge", project, *words, status=status)
        assert plan in printed
        assert "nothing was changed" in printed
    assert read_config(project).iteration == 0
    assert {path: path.read_bytes() for path in by_hand} == by_hand
    printed = call("project", "merge", project, "--yes")
    assert "is at iteration 1" in printed
    assert read_config(project).iteration == 1
    backups = [Path(text) for text in re.findall(r"^backup (.*)$", printed, re.MULTILINE)]
    assert {path.name: path.read_bytes() for path in backups if path.suffix != ".yaml"} == {
        path.name: content for path, content in by_hand.items()
    }
    assert "no machinelabels-iter1" in call("project", "merge", project, "--yes", status=1)

    assert "2 picked" in call(*look, "0.6", "--number", "2", "--format", "sleap")
    sleap = folder / "machinelabels-iter1.slp"
    merge = ("project", "merge", project, "--from")
    assert "no labels that a person placed" in call(*merge, sleap, "--dry-run", status=1)
    (third,) = refine(sleap, tmp_path / "refined.slp", truth, frames=1)
    assert "is at iteration 2" in call(*merge, tmp_path / "refined.slp", "--yes")

    assert "8 frames, 1 animal(s)" in call("project", "check", project)
    labels = read_project(project)
    names = sorted([*first, *second, f"img{third:02d}.png"])
    assert [frame.name for frame in labels.frames] == [f"mouse/{name}" for name in names]
    for frame in labels.frames:
        expected = points_of(truth, frame.name)
        np.testing.assert_allclose(frame.keypoints_xy, expected, atol=1e-4)

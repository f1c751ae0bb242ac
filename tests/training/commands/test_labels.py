import argparse
from pathlib import Path

import pytest

from service.errors import InvalidRequest
from service.results.parquet import write_record
from service.simulation import SimulationSettings, simulate, write_recording
from tests.training.behavior_projects.test_label_import import results_of
from training.commands import labels
from training.data.behavior_labels import read_behavior_project


def call(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    labels.configure(parser)
    return labels.run(parser.parse_args([str(word) for word in words]))


def simulate_video(folder: Path, name: str, seed: int) -> tuple[Path, Path]:
    """Video and label file of a simulated mouse, which was somewhere else."""
    settings = SimulationSettings(width_px=64, height_px=64, duration_s=2.0, seed=seed)
    files = write_recording(simulate(settings), folder, name=name, codec="mjpeg")
    return files.video, files.behavior_csv


def test_a_project_is_made_filled_checked_split_and_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = [simulate_video(tmp_path / "sim", f"m{seed}", seed) for seed in range(3)]
    known = read_behavior_project([tmp_path / "sim"], exclusive=False)
    behaviors = ",".join(known.behaviors)
    assert call("create", "cage", "--behaviors", behaviors, "--out", tmp_path) == 0
    project = tmp_path / "cage_deepethogram"
    assert f"project {project}" in capsys.readouterr().out
    assert call("add-videos", project, *(video for video, _ in recorded)) == 0
    assert call("check", project) == 1
    assert "ERROR: no video of" in capsys.readouterr().out
    for _, table in recorded:
        assert call("import", project, table) == 0
    assert "m2_labels.csv: 60 of 60 frames labelled" in capsys.readouterr().out
    found = read_behavior_project([project], exclusive=False)
    for one, other in zip(found.recordings, known.recordings, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
    missing = [name for name, seen in zip(
        found.behaviors, sum(one.labels.any(axis=0).astype(int) for one in found.recordings),
        strict=True,
    ) if seen < 2]  # fmt: skip
    for name in missing:
        assert call("remove-behavior", project, name) == 0
    assert call("check", project) == 0
    assert "all labels can be used" in capsys.readouterr().out
    assert call("split", project, "--shares", "0.7", "0", "0.3") == 0
    assert "every behavior in every part" in capsys.readouterr().out
    assert call("stats", project, "--every", "5", "--again") == 0
    assert "all together: 36 frames" in capsys.readouterr().out
    assert call("clips", project, "--out", tmp_path / "clips", "--longest", "3") == 0
    assert "clips in" in capsys.readouterr().out


def test_behaviors_are_added_finalized_and_filled_by_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, _ = simulate_video(tmp_path / "sim", "b", 1)
    call("create", "cage", "--behaviors", "run", "--out", tmp_path)
    project = tmp_path / "cage_deepethogram"
    call("add-videos", project, video, "--copy-videos")
    assert call("add-behavior", project, "rear") == 0
    write_record(results_of("b.mkv", "activity", frames=60), tmp_path / "b.parquet")
    assert call("from-predictions", project, tmp_path / "b.parquet") == 0
    assert "59 of 60 frames labelled" in capsys.readouterr().out
    assert call("finalize", project) == 0
    assert "60 of 60 frames labelled, 1 changed" in capsys.readouterr().out
    assert call("predictions", tmp_path / "b.parquet", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "b_predictions.csv").is_file()


def test_a_rename_without_two_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is not OLD=NEW"):
        call("import", tmp_path, tmp_path / "b.csv", "--rename", "jump")

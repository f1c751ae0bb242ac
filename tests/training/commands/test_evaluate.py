import argparse
import json
from pathlib import Path

import pytest

from service.errors import InvalidConfig, NotFound
from training.commands import evaluate, maps
from training.runs import Run

pytestmark = pytest.mark.needs_train

MODELS = Path(__file__).parents[3] / "deploy" / "models"


def call(command: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)  # type: ignore[attr-defined]
    return command.run(parser.parse_args([str(one) for one in arguments]))  # type: ignore[attr-defined]


def test_a_run_is_measured_on_its_own_data_and_a_report_is_written(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert call(evaluate, trained.directory, "--json", "--report", report, "--cutoff", "0.1") == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"mean_error_px", "rmse_px", "per_keypoint"} <= set(figures)
    assert (figures["run"], figures["part"], figures["frames"]) == ("tiny", "test", 2)
    assert list(figures["at_cutoff"]) == ["0.1"]
    stored = json.loads(trained.evaluation.read_text())
    assert list(stored) == ["training", "validation", "test"]
    assert stored["test"]["mean_error_px"] == figures["mean_error_px"]
    assert (
        "curves" in (report / "report.html").read_text() or (report / "plots/curves.png").exists()
    )
    assert len(list((report / "labelled" / "training").glob("*.png"))) == 9


def test_people_get_a_table_of_parts_and_keypoints(
    trained: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate, trained.directory, project, "--part", "all", "--animals", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["all", "all"],
        ["all", "leftear"],
        ["all", "rightear"],
    ]
    assert any(line.strip().startswith("recall") for line in lines)
    assert not trained.evaluation.exists()  # other data and parts are not the run's own figures


def test_what_fits_neither_a_bundle_nor_a_run_is_refused(project: Path) -> None:
    with pytest.raises(InvalidConfig, match="no data was named"):
        call(evaluate, MODELS / "openfield-mouse" / "1")
    with pytest.raises(InvalidConfig, match="holds how many animals"):
        call(evaluate, MODELS / "openfield-mouse" / "1", project, "--animals", "3")
    with pytest.raises(InvalidConfig, match="--part training is for pose"):
        call(evaluate, MODELS / "openfield-activity" / "1", project, "--part", "training")
    with pytest.raises(InvalidConfig, match="the data labels leftear"):
        call(evaluate, MODELS / "openfield-mouse" / "1", project, "--part", "all")


def test_maps_of_pictures_are_drawn(
    trained: Run, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted(project.rglob("*.png"))[:2]
    assert call(maps, trained.directory, *pictures, "--out", tmp_path / "maps") == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in written] == ["001-img000.png", "002-img001.png"]
    assert all(path.stat().st_size > 10_000 for path in written)
    with pytest.raises(InvalidConfig, match="nose is not labelled"):
        call(maps, trained.directory, pictures[0], "--keypoints", "nose")
    with pytest.raises(NotFound, match="name the folder of a training run"):
        call(maps, tmp_path, pictures[0])

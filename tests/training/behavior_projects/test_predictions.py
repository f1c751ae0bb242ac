from pathlib import Path

import pytest

from service.errors import InvalidRequest
from service.results.parquet import write_record
from tests.training.behavior_projects.conftest import on, read_table
from tests.training.behavior_projects.test_label_import import results_of
from training.behavior_projects.predictions import export_predictions


def test_results_of_a_folder_are_written_with_its_sub_folders(tmp_path: Path) -> None:
    for name in ("a", "night/b"):
        path = tmp_path / "results" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(results_of(f"{path.stem}.mkv", "activity"), path)
    out = tmp_path / "out"
    written = export_predictions([tmp_path / "results"], out)
    assert written == [out / "a_predictions.csv", out / "night" / "b_predictions.csv"]
    assert (out / "night" / "b_probabilities.csv").is_file()
    table = read_table(written[0])
    assert list(table) == ["background", "run", "rear"]
    assert table["run"] == [-1, *on((3, 6))[1:]]
    assert table["background"][1:] == on((0, 3), (6, 12))[1:]
    beside = export_predictions([tmp_path / "results" / "a.parquet"])
    assert beside == [tmp_path / "results" / "a_predictions.csv"]


def test_several_bundles_get_a_file_each(tmp_path: Path) -> None:
    write_record(results_of("a.mkv", "one", "two"), tmp_path / "a.parquet")
    names = [path.name for path in export_predictions([tmp_path / "a.parquet"])]
    assert names == ["a_one_v1_predictions.csv", "a_two_v1_predictions.csv"]


def test_results_without_behavior_and_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no behavior results"):
        export_predictions([tmp_path])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_record(results_of("a.mkv", "activity"), tmp_path / name / "a.parquet")
    with pytest.raises(InvalidRequest, match="would both be"):
        export_predictions([tmp_path / "one", tmp_path / "two"], tmp_path / "out")

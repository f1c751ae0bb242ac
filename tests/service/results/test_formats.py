"""Formats by name, and files that are whole or not there."""

from pathlib import Path

import pytest

from service.errors import InvalidRequest
from service.results import FORMATS, VideoResults, result_paths, write_results
from service.results.atomic import replacing


def test_every_format_writes_the_files_that_it_announces(
    results: VideoResults, tmp_path: Path
) -> None:
    written = write_results(results, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [
        "cage 4.parquet",
        "cage 4ethostream_mouse_v2.h5",
        "cage 4ethostream_mouse_v2.csv",
        "cage 4_probabilities.csv",
        "cage 4_predictions.csv",
    ]


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_record_is_written_with_any_format(
    results: VideoResults, tmp_path: Path, name: str
) -> None:
    written = write_results(results, tmp_path, [name], stem="other")
    assert tmp_path / "other.parquet" in written
    assert sorted(written) == sorted(tmp_path.iterdir())


def test_an_unknown_format_lists_those_that_exist(results: VideoResults, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"unknown format 'xlsx'; .*dlc-h5.*behavior-csv"):
        write_results(results, tmp_path, ["parquet", "xlsx"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidRequest, match="'xlsx'"):
        result_paths(tmp_path, "a", results.provenance.bundles, ["xlsx"])


def test_an_older_record_is_gone_while_the_new_files_are_written(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(results, tmp_path)
    (tmp_path / "cage 4_predictions.csv").unlink()
    (tmp_path / "cage 4_predictions.csv").mkdir()  # stands in the way of the new table
    with pytest.raises(OSError, match="predictions"):
        write_results(results, tmp_path)
    assert not (tmp_path / "cage 4.parquet").exists()


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

"""Formats by name, and files that are whole or not there."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from service import extras
from service.errors import EngineUnavailable, InvalidRequest
from service.format_names import DEFAULT_FORMATS
from service.results import FORMATS, AnsweredBundle, VideoResults, result_paths, write_results
from service.results.atomic import replacing
from service.results.formats import check_formats, write_derived

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]

needs_analysis = pytest.mark.skipif(
    find_spec("sleap_io") is None, reason="run `uv sync --extra cpu --extra analysis`"
)
OF_THE_EXTRA = ("slp", "sleap-h5", "nwb", "deg-h5")


def test_the_default_formats_need_no_extra_and_write_what_they_announce(
    results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    written = write_results(results, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [
        "cage 4.parquet",
        "cage 4ethostream_mouse_v2.h5",
        "cage 4ethostream_mouse_v2.csv",
        "cage 4_probabilities.csv",
        "cage 4_predictions.csv",
        "cage 4_bouts.csv",
    ]


@needs_analysis
def test_every_format_writes_the_files_that_it_announces(
    results: VideoResults, tmp_path: Path
) -> None:
    written = write_results(results, tmp_path, tuple(FORMATS))
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [
        "cage 4.parquet",
        "cage 4ethostream_mouse_v2.h5",
        "cage 4ethostream_mouse_v2.csv",
        "cage 4.predictions.slp",
        "cage 4.analysis.h5",
        "cage 4.nwb",
        "cage 4_outputs.h5",
        "cage 4_probabilities.csv",
        "cage 4_predictions.csv",
        "cage 4_bouts.csv",
    ]


@needs_analysis
def test_a_format_writes_nothing_of_what_no_bundle_answered(
    make_results: MakeResults, make_pose_bundle: Make, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    posed = write_results(make_results(make_pose_bundle()), tmp_path / "pose", tuple(FORMATS))
    assert sorted(path.name for path in posed) == sorted(
        path.name for path in (tmp_path / "pose").iterdir()
    )
    assert [path.suffix for path in posed] == [".parquet", ".h5", ".csv", ".slp", ".h5", ".nwb"]
    behaved = write_results(
        make_results(make_behavior_bundle()), tmp_path / "behavior", tuple(FORMATS)
    )
    assert [path.name.removeprefix("cage 4") for path in behaved] == [
        ".parquet",
        ".nwb",
        "_outputs.h5",
        "_probabilities.csv",
        "_predictions.csv",
        "_bouts.csv",
    ]


@needs_analysis
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


@pytest.mark.parametrize("name", OF_THE_EXTRA)
def test_a_format_whose_library_is_not_installed_is_refused_before_work_and_says_what_to_install(
    results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda library: None)
    with pytest.raises(EngineUnavailable, match=f"{name} needs .* --extra analysis"):
        check_formats(["dlc-csv", name])
    with pytest.raises(EngineUnavailable, match="--extra analysis"):
        write_results(results, tmp_path, [name])
    assert not list(tmp_path.iterdir())
    check_formats(DEFAULT_FORMATS)


@pytest.mark.parametrize("name", OF_THE_EXTRA)
def test_a_library_that_went_away_is_named(
    results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setattr(extras, "import_module", absent)
    with pytest.raises(EngineUnavailable, match=f"{name} needs h5py, .* --extra analysis"):
        write_derived(results, tmp_path, [name], stem="cage 4")


def test_the_names_are_known_without_loading_anything() -> None:
    command = (
        "import sys, service.format_names; "
        "sys.exit(bool({'numpy', 'pandas', 'pyarrow', 'h5py'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", command], check=True, timeout=120)


def test_an_older_record_is_gone_while_the_new_files_are_written(
    results: VideoResults, tmp_path: Path
) -> None:
    write_results(results, tmp_path)
    (tmp_path / "cage 4_predictions.csv").unlink()
    (tmp_path / "cage 4_predictions.csv").mkdir()  # stands in the way of the new table
    with pytest.raises(OSError, match="predictions"):
        write_results(results, tmp_path)
    assert not (tmp_path / "cage 4.parquet").exists()


@needs_analysis
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])
def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_behind(
    results: VideoResults, tmp_path: Path, name: str
) -> None:
    paths = result_paths(tmp_path, "cage 4", results.provenance.bundles, [name])[1:]
    for path in paths:
        path.mkdir()
    with pytest.raises(OSError, match="cage 4"):
        write_derived(results, tmp_path, [name], stem="cage 4")
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@needs_analysis
def test_files_that_are_moved_to_their_home_refer_to_the_video_from_there(
    results: VideoResults, tmp_path: Path
) -> None:
    import h5py
    import pynwb

    home, staging = tmp_path / "results", tmp_path / "staging"
    video = tmp_path / "videos" / "cage 4.mp4"
    home.mkdir()
    with h5py.File(home / "cage 4_outputs.h5", "w") as file:
        file["resnet18/P"] = [0.5]
    write_derived(results, staging, ["nwb", "deg-h5"], stem="cage 4", video=video, home=home)
    with pynwb.NWBHDF5IO(str(staging / "cage 4.nwb"), "r") as opened:
        recording = opened.read().acquisition["source_video"]
        assert recording.external_file[:].tolist() == ["../videos/cage 4.mp4"]
    with h5py.File(staging / "cage 4_outputs.h5") as file:
        assert sorted(file) == ["activity_v1", "resnet18"]


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

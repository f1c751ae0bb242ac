"""Poses in DeepLabCut's files, read back as its users read them."""

import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tables

from service.results import FORMATS, AnsweredBundle, VideoResults, deeplabcut, write_results
from service.results.deeplabcut import write_csv, write_h5

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]
SCORER = "ethostream_mouse_v2"


def test_one_animal_has_the_three_levels(results: VideoResults, tmp_path: Path) -> None:
    write_h5(results, tmp_path, "cage 4")
    table = pd.read_hdf(tmp_path / f"cage 4{SCORER}.h5", key="df_with_missing")
    assert isinstance(table, pd.DataFrame)
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert table.columns.tolist()[:4] == [
        (SCORER, "snout", "x"),
        (SCORER, "snout", "y"),
        (SCORER, "snout", "likelihood"),
        (SCORER, "leftear", "x"),
    ]
    found = table[SCORER]["tailbase"][["x", "y"]].to_numpy()
    np.testing.assert_array_equal(found, results.poses[0].keypoints_xy[:, 0, 3])
    np.testing.assert_array_equal(
        table[SCORER]["snout"]["likelihood"], results.poses[0].confidence[:, 0, 0]
    )
    assert table.index.tolist() == list(range(30))
    assert table.loc[7].isna().all()


def test_the_file_is_in_table_format(results: VideoResults, tmp_path: Path) -> None:
    write_h5(results, tmp_path, "cage 4")
    with tables.open_file(str(tmp_path / f"cage 4{SCORER}.h5")) as file:
        assert "table" in file.root.df_with_missing


def test_tables_that_are_written_in_parts_are_those_of_one_part(
    results: VideoResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stem, rows in (("whole", len(results)), ("parts", 7)):
        monkeypatch.setattr(deeplabcut, "_ROWS_AT_ONCE", rows)
        write_h5(results, tmp_path, stem)
        write_csv(results, tmp_path, stem)
    files = {one: tmp_path / f"{one}{SCORER}" for one in ("whole", "parts")}
    texts = [one.with_name(f"{one.name}.csv").read_bytes() for one in files.values()]
    assert texts[0] == texts[1]
    tables = [pd.read_hdf(one.with_name(f"{one.name}.h5")) for one in files.values()]
    pd.testing.assert_frame_equal(*tables)


def test_what_a_killed_process_left_is_no_part_of_the_next_file(
    results: VideoResults, tmp_path: Path
) -> None:
    left = tmp_path / f".x{SCORER}.{os.getpid()}.unfinished.csv"
    left.write_text("half of a table\n")
    for stem in ("x", "y"):
        write_csv(results, tmp_path, stem)
    found, wanted = (tmp_path / f"{stem}{SCORER}.csv" for stem in ("x", "y"))
    assert found.read_bytes() == wanted.read_bytes()


def test_a_table_has_no_index_which_would_hold_the_time(
    results: VideoResults, tmp_path: Path
) -> None:
    write_h5(results, tmp_path, "a")
    (path,) = tmp_path.iterdir()
    with tables.open_file(str(path)) as file:  # the same rows would be other bytes each time
        assert not file.root.df_with_missing.table.indexed


@pytest.mark.parametrize("share", [0.03, 0.2, 0.7, 0.98])
def test_a_disk_that_takes_a_part_of_a_file_is_told(
    results: VideoResults, tmp_path: Path, share: float
) -> None:
    (bundle, poses), *_ = results.pose_answers()
    table = deeplabcut.pose_table(results, bundle, poses)
    long = pd.concat([table] * (1 + 1200 // len(table)), ignore_index=True)
    path = tmp_path / "poses.h5"
    deeplabcut.write_table(long, path)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * len(whole)), hard))
    try:  # refused as by a full disk
        with pytest.raises(OSError, match="the disk did not take what was written"):
            deeplabcut.write_table(long, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_several_animals_have_the_level_of_individuals(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_pose_bundle(animals=2))
    write_h5(results, tmp_path, "pair")
    table = pd.read_hdf(tmp_path / f"pair{SCORER}.h5")
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    np.testing.assert_array_equal(
        table[(SCORER, "animal2", "leftear", "y")], results.poses[0].keypoints_xy[:, 1, 1, 1]
    )


def test_the_csv_reads_as_the_same_numbers(
    make_results: MakeResults, make_pose_bundle: Make, tmp_path: Path
) -> None:
    for animals, levels in ((1, [0, 1, 2]), (2, [0, 1, 2, 3])):
        results = make_results(make_pose_bundle(animals=animals))
        write_csv(results, tmp_path, "cage 4")
        table = pd.read_csv(tmp_path / f"cage 4{SCORER}.csv", header=levels, index_col=0)
        expected = np.concatenate(
            [results.poses[0].keypoints_xy, results.poses[0].confidence[..., None]], axis=-1
        ).reshape(30, -1)
        np.testing.assert_array_equal(table.to_numpy().astype(np.float32), expected)


def test_the_csv_begins_as_deeplabcuts(results: VideoResults, tmp_path: Path) -> None:
    write_csv(results, tmp_path, "cage 4")
    lines = (tmp_path / f"cage 4{SCORER}.csv").read_text().splitlines()
    assert lines[0].startswith(f"scorer,{SCORER},")
    assert lines[1].startswith("bodyparts,snout,snout,snout,leftear,")
    assert lines[2].startswith("coords,x,y,likelihood,x,")
    assert lines[3].startswith("0,")
    assert lines[3 + 7] == "7," + "," * 11


@pytest.mark.parametrize("animals", [1, 2])
def test_movement_reads_both_files(
    make_results: MakeResults,
    make_pose_bundle: Make,
    tmp_path: Path,
    animals: int,
    open_in_movement,
) -> None:
    results = make_results(make_pose_bundle(animals=animals))
    write_h5(results, tmp_path, "cage 4")
    write_csv(results, tmp_path, "cage 4")
    for suffix in (".h5", ".csv"):
        dataset = open_in_movement(tmp_path / f"cage 4{SCORER}{suffix}", "DeepLabCut")
        positions = dataset.position.transpose("time", "individual", "keypoint", "space")
        np.testing.assert_array_equal(
            positions.values.astype(np.float32), results.poses[0].keypoints_xy
        )


def test_rows_carry_the_frames_numbers_where_the_analysis_begins_later(
    results: VideoResults, tmp_path: Path
) -> None:
    later = replace(results, frame_index=results.frame_index + 100)
    write_h5(later, tmp_path, "cage 4")
    write_csv(later, tmp_path, "cage 4")
    table = pd.read_hdf(tmp_path / f"cage 4{SCORER}.h5")
    assert table.index.tolist() == list(range(100, 130))
    table = pd.read_csv(tmp_path / f"cage 4{SCORER}.csv", header=[0, 1, 2], index_col=0)
    assert table.index.tolist() == list(range(100, 130))


def test_one_file_alone_is_what_deeplabcut_takes_for_the_poses(
    results: VideoResults, tmp_path: Path
) -> None:
    """It takes .h5 files that begin with video and scorer and end with no name of a tracker."""
    pytest.importorskip("sleap_io", reason="run `uv sync --extra cpu --extra analysis`")
    write_results(results, tmp_path, tuple(FORMATS))
    found = [path.name for path in tmp_path.glob("*.h5") if path.name.startswith(f"cage 4{SCORER}")]
    assert found == [f"cage 4{SCORER}.h5"]
    assert not Path(found[0]).stem.endswith(("_el", "_bx", "_sk"))
    assert not list(tmp_path.glob("*.pickle"))

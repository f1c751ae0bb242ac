from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidRequest
from service.simulation import simulate, write_recording
from service.simulation.settings import SimulationSettings
from service.tracks import Track, read_tracks, write_tracks
from service.tracks.write import derived_stem


def same(found: Track, written: Track, *, names: bool = True) -> None:
    np.testing.assert_array_equal(found.keypoints_xy, written.keypoints_xy)
    np.testing.assert_array_equal(found.confidence, written.confidence)
    np.testing.assert_array_equal(found.frame_index, written.frame_index)
    assert found.keypoints == written.keypoints
    assert found.animals == written.animals
    if names:
        assert found.names == written.names


@pytest.fixture
def holed(make_track) -> Track:
    """Two animals, a gap in the frames and a frame without a result."""
    track = make_track(frames=20, animals=2)
    positions, confidence = track.keypoints_xy.copy(), track.confidence.copy()
    positions[7], confidence[7] = np.nan, np.nan
    return replace(
        track,
        frame_index=np.arange(20) + 3 + (np.arange(20) > 10),
        keypoints_xy=positions,
        confidence=confidence,
        animal_names=("mickey", "minnie"),
    )


@pytest.mark.parametrize("ending", [".parquet", ".h5", ".csv"])
def test_a_track_is_read_as_it_was_written(holed, tmp_path, ending):
    paths = write_tracks(holed, tmp_path / "walk")
    path = next(one for one in paths if one.suffix == ending)
    found = read_tracks(path)
    same(found, holed)
    assert found.rows == ("animals" if ending == ".parquet" else found.rows)
    assert found.source == path
    if ending == ".parquet":
        assert found.skeleton == holed.skeleton
        assert found.frame_rate_hz == 30.0
        assert found.model == "mouse@2"
    else:
        assert found.model == "ethostream_mouse_v2"
        assert found.frame_rate_hz == 0


@pytest.mark.parametrize("ending", [".parquet", ".h5", ".csv"])
@pytest.mark.parametrize("empty", [[0], [0, 1], [19], list(range(20))])
@pytest.mark.parametrize("animals", [1, 2])
def test_frames_without_any_keypoint_are_rows_wherever_they_are(
    make_track, tmp_path, ending, empty, animals
):
    track = make_track(frames=20, animals=animals)
    positions, confidence = track.keypoints_xy.copy(), track.confidence.copy()
    positions[empty], confidence[empty] = np.nan, np.nan
    holed = replace(track, keypoints_xy=positions, confidence=confidence)
    paths = write_tracks(holed, tmp_path / "walk")
    found = read_tracks(next(one for one in paths if one.suffix == ending))
    np.testing.assert_array_equal(found.frame_index, holed.frame_index)
    np.testing.assert_allclose(found.keypoints_xy, holed.keypoints_xy, atol=1e-3)


@pytest.mark.parametrize("ending", [".parquet", ".h5", ".csv"])
def test_one_animal_has_no_level_of_animals(track, tmp_path, ending):
    paths = write_tracks(track, tmp_path / "walk")
    path = next(one for one in paths if one.suffix == ending)
    same(read_tracks(path), track)
    if ending == ".h5":
        table = pd.read_hdf(path)
        assert table.columns.names == ["scorer", "bodyparts", "coords"]


def test_unique_keypoints_belong_to_the_animal_single_as_in_deeplabcut(holed, tmp_path):
    positions, confidence = holed.keypoints_xy.copy(), holed.confidence.copy()
    positions[:, 1, 3], confidence[:, 1, 3] = np.nan, np.nan
    track = replace(
        holed,
        keypoints=("snout", "leftear", "rightear", "corner"),
        keypoints_xy=positions,
        confidence=confidence,
        unique_keypoints=("corner",),
        skeleton=(),
    )
    path = write_tracks(track, tmp_path / "walk", ["dlc-h5"])[0]
    table = pd.read_hdf(path)
    owners = table.columns.get_level_values("individuals").unique().tolist()
    assert owners == ["mickey", "minnie", "single"]
    found = read_tracks(path)
    same(found, track)
    assert found.unique_keypoints == ("corner",)


def test_sleap_files_keep_positions_confidence_tracks_and_skeleton(holed, tmp_path):
    sleap = pytest.importorskip(
        "service.tracks.sleap",
        exc_type=ImportError,
        reason="run `uv sync --inexact --extra analysis`",
    )
    path = tmp_path / "walk.slp"
    sleap.write_sleap(holed, path, Path("cage.mp4"))
    found = read_tracks(path)
    assert found.names == ("mickey", "minnie")
    assert found.skeleton == holed.skeleton
    assert found.rows == "animals"
    np.testing.assert_allclose(found.keypoints_xy[holed.frame_index], holed.keypoints_xy)
    np.testing.assert_allclose(found.confidence[holed.frame_index], holed.confidence)
    for rows in ("poses", "detections"):
        sleap.write_sleap(replace(holed, rows=rows), path, Path("cage.mp4"))
        assert read_tracks(path).rows == rows


def test_sleap_analysis_files_are_told_from_deeplabcut_by_what_is_in_them(track, tmp_path):
    pytest.importorskip("sleap_io", reason="run `uv sync --inexact --extra analysis`")
    save_poses = pytest.importorskip(
        "movement.io.save_poses", reason="run `uv sync --inexact --group dev`"
    )
    load_poses = pytest.importorskip(
        "movement.io.load_poses", reason="run `uv sync --inexact --group dev`"
    )
    path = write_tracks(track, tmp_path / "walk", ["dlc-h5"])[0]
    dataset = load_poses.from_dlc_file(path, fps=30)
    analysis = tmp_path / "walk.analysis.h5"
    save_poses.to_sleap_analysis_file(dataset, analysis)
    found = read_tracks(analysis)
    assert found.keypoints == track.keypoints
    np.testing.assert_allclose(found.keypoints_xy, track.keypoints_xy, rtol=1e-6)


def test_the_truth_of_a_simulated_recording_is_read(tmp_path):
    settings = SimulationSettings(width_px=128, height_px=96, duration_s=0.3)
    recording = simulate(settings)
    files = write_recording(recording, tmp_path, name="sim")
    found = read_tracks(files.truth_arrays)
    np.testing.assert_array_equal(found.keypoints_xy, recording.keypoints_xy)
    assert found.frame_rate_hz == settings.frame_rate_hz
    files.truth_json.unlink()
    with pytest.raises(InvalidRequest, match="ethostream simulate"):
        read_tracks(files.truth_arrays)


def test_our_files_of_several_animals_hold_detections_and_others_hold_animals(make_track, tmp_path):
    ours = replace(make_track(frames=3, animals=2), rows="detections")
    path = write_tracks(ours, tmp_path / "ours", ["dlc-h5"])[0]
    assert read_tracks(path).rows == "detections"
    theirs = replace(ours, model="DLC_resnet50_mice", rows="animals")
    path = write_tracks(theirs, tmp_path / "theirs", ["dlc-h5"])[0]
    assert read_tracks(path).rows == "animals"


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "begins with the lines"),
        ("a.csv", "time,x,y\n0,1,2\n", "as DeepLabCut writes them"),
        ("a.csv", "scorer,h,h\nbodyparts,a,a\ncoords,x,y\n0,1,2\n", "labels, not predictions"),
        (
            "a.csv",
            "scorer,h,h,h\nbodyparts,a,a,a\ncoords,x,y,likelihood\nimg1.png,1,2,1\n",
            "not numbered by frame",
        ),
        (
            "a.csv",
            "scorer,h,h,h\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,two,1\n",
            "no number",
        ),
        ("a.h5", "not HDF5", "not a whole HDF5 file"),
        ("a.parquet", "not Parquet", "no whole Parquet file"),
        ("a.txt", "", "no ending that predictions have"),
    ],
)
def test_files_that_hold_no_predictions_are_named_with_a_remedy(tmp_path, name, content, message):
    with pytest.raises(InvalidRequest, match=message):
        read_tracks(write_text(tmp_path / name, content))


def test_a_csv_is_read_with_the_mark_of_a_spreadsheet_and_names_that_look_missing(tmp_path):
    head = "scorer,h,h,h,h,h,h\nbodyparts,NA,NA,NA,None,None,None\n"
    text = head + "coords,x,y,likelihood,x,y,likelihood\n0,1,2,1,3,4,0.5\n1,,,,5,6,0.5\n"
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8-sig")
    found = read_tracks(path)
    assert found.keypoints == ("NA", "None")
    np.testing.assert_array_equal(found.keypoints_xy[0, 0], [[1, 2], [3, 4]])
    assert np.isnan(found.keypoints_xy[1, 0, 0]).all()


def test_a_missing_file_and_a_table_of_something_else_are_named(tmp_path):
    with pytest.raises(InvalidRequest, match="there is no file"):
        read_tracks(tmp_path / "a.h5")
    path = tmp_path / "other.h5"
    pd.DataFrame({"x": [1.0]}).to_hdf(path, key="df")
    with pytest.raises(InvalidRequest, match="column levels"):
        read_tracks(path)


def test_a_damaged_track_is_refused(track):
    with pytest.raises(InvalidRequest, match="do not rise"):
        replace(track, frame_index=track.frame_index[::-1])
    with pytest.raises(InvalidRequest, match="there twice"):
        replace(track, keypoints=("a", "a", "b", "c"))
    with pytest.raises(InvalidRequest, match="do not go with positions"):
        replace(track, confidence=track.confidence[1:])


def test_what_is_made_is_named_after_video_and_scorer_and_replaces_nothing(track, tmp_path):
    from_record = replace(track, source=tmp_path / "cage.parquet")
    stem = derived_stem(from_record, "filtered")
    assert stem == tmp_path / "cageethostream_mouse_v2_filtered"
    written = write_tracks(from_record, stem)
    assert [path.name for path in written] == [
        f"cageethostream_mouse_v2_filtered{one}" for one in (".parquet", ".h5", ".csv")
    ]
    read = read_tracks(written[1])
    assert derived_stem(read, "plot").name == "cageethostream_mouse_v2_filtered_plot"
    with pytest.raises(InvalidRequest, match="would replace"):
        write_tracks(read, stem, ["dlc-h5"])
    with pytest.raises(InvalidRequest, match="unknown format 'nwb'"):
        write_tracks(track, stem, ["nwb"])

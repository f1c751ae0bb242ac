"""Results as Neurodata Without Borders, read back by pynwb and movement."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.results import AnsweredBundle, Provenance, VideoResults, write_results

pynwb = pytest.importorskip("pynwb", reason="run `uv sync --extra cpu --extra analysis`")
pytest.importorskip("ndx_pose", reason="run `uv sync --extra cpu --extra analysis`")

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]


@contextmanager
def written(results: VideoResults, folder: Path, **options: Path) -> Iterator[object]:
    """Write the file, check it against NWB's rules, and open it."""
    path = write_results(results, folder, ["nwb"], **options)[1]
    assert not pynwb.validate(path=str(path))
    with pynwb.NWBHDF5IO(str(path), "r") as opened:
        yield opened.read()


@pytest.fixture
def varied(results: VideoResults) -> VideoResults:
    """Frames 100 to 129 of a recording whose rate changes."""
    steps_ns = np.random.default_rng(0).integers(20_000_000, 50_000_000, 30)
    return replace(
        results, frame_index=results.frame_index + 100, pts_ns=4_000_000_000 + np.cumsum(steps_ns)
    )


def test_pynwb_reads_every_keypoint_with_confidence_and_time(
    varied: VideoResults, tmp_path: Path
) -> None:
    with written(varied, tmp_path) as file:
        poses = file.processing["behavior"]["PoseEstimation"]
        assert list(poses.skeleton.nodes) == ["snout", "leftear", "rightear", "tailbase"]
        assert poses.skeleton.edges[:].tolist() == [[0, 3]]
        assert (poses.source_software, poses.source_software_version) == ("ethostream", "0.1.0")
        assert poses.scorer == "mouse@2"
        for place, name in enumerate(poses.skeleton.nodes):
            series = poses[name]
            np.testing.assert_array_equal(series.data[:], varied.poses[0].keypoints_xy[:, 0, place])
            np.testing.assert_array_equal(
                series.confidence[:], varied.poses[0].confidence[:, 0, place]
            )
            np.testing.assert_array_equal(series.timestamps[:], varied.pts_ns / 1e9)
            assert np.isnan(series.data[7]).all()


def test_frames_have_their_numbers_and_what_decoding_gave(
    varied: VideoResults, tmp_path: Path
) -> None:
    with written(varied, tmp_path) as file:
        frames = file.processing["behavior"]["frames"]
        assert frames.data[:].tolist() == list(range(100, 130))
        meanings = [frames.control_description[number] for number in frames.control[:]]
        assert meanings == ["missing" if row == 7 else "ok" for row in range(30)]


def test_movement_reads_the_poses(results: VideoResults, tmp_path: Path, open_in_movement) -> None:
    path = write_results(results, tmp_path, ["nwb"])[1]
    dataset = open_in_movement(path, "NWB", fps=None)
    assert dataset.fps == pytest.approx(30)
    for place, name in enumerate(("snout", "leftear", "rightear", "tailbase")):
        one = dataset.sel(keypoint=name)
        found = one.position.transpose("time", "space", "individual").values[..., 0]
        np.testing.assert_array_equal(found, results.poses[0].keypoints_xy[:, 0, place])


def test_probabilities_have_a_series_for_each_behavior(
    results: VideoResults, tmp_path: Path
) -> None:
    with written(results, tmp_path) as file:
        found = file.processing["behavior"]["Probabilities"].time_series
        assert sorted(found) == ["rear", "walk"]
        for place, name in enumerate(("walk", "rear")):
            values = results.behaviors[0].probabilities[:, place]
            np.testing.assert_array_equal(found[name].data[:], values)
            np.testing.assert_array_equal(found[name].timestamps[:], results.times_s)


def test_bouts_are_intervals(varied: VideoResults, tmp_path: Path) -> None:
    with written(varied, tmp_path) as file:
        table = file.intervals["bouts"].to_dataframe()
    assert table["label"].tolist() == ["walk", "rear"]
    assert table["onset_frame"].tolist() == [110, 110]
    assert table["offset_frame"].tolist() == [116, 116]
    assert table["start_time"].tolist() == [varied.times_s[10]] * 2
    assert table["stop_time"].tolist() == [varied.times_s[16]] * 2


def test_without_a_bout_the_table_is_empty_and_without_a_pose_there_is_none(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_behavior_bundle())
    found = results.behaviors[0]
    absent = replace(results, behaviors=(replace(found, present=np.zeros_like(found.present)),))
    with written(absent, tmp_path) as file:
        assert len(file.intervals["bouts"]) == 0
        assert sorted(file.processing["behavior"].data_interfaces) == ["Probabilities", "frames"]


def test_several_bundles_and_animals_keep_apart(
    make_results: MakeResults, make_pose_bundle: Make, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(
        make_pose_bundle(animals=2),
        make_pose_bundle(name="pups"),
        make_behavior_bundle(),
        make_behavior_bundle(exclusive=True, name="cage"),
    )
    with written(results, tmp_path) as file:
        assert sorted(file.processing["behavior"].data_interfaces) == [
            "PoseEstimation_mouse_v2_animal1",
            "PoseEstimation_mouse_v2_animal2",
            "PoseEstimation_pups_v2",
            "Probabilities_activity_v1",
            "Probabilities_cage_v1",
            "Skeletons",
            "frames",
        ]
        assert sorted(file.intervals) == ["bouts_activity_v1", "bouts_cage_v1"]
        assert "background" not in file.intervals["bouts_cage_v1"]["label"][:]
        second = file.processing["behavior"]["PoseEstimation_mouse_v2_animal2"]
        np.testing.assert_array_equal(
            second["leftear"].data[:], results.poses[0].keypoints_xy[:, 1, 1]
        )


def test_the_session_begins_with_the_files_time_and_the_identifier_is_that_of_the_work(
    results: VideoResults, tmp_path: Path
) -> None:
    source = msgspec.structs.replace(results.provenance.source, modified_ns=1_700_000_000 * 10**9)
    dated = replace(results, provenance=msgspec.structs.replace(results.provenance, source=source))
    with written(dated, tmp_path / "one") as file:
        assert file.session_start_time.isoformat() == "2023-11-14T22:13:20+00:00"
        assert msgspec.json.decode(file.notes, type=Provenance) == dated.provenance
        first = file.identifier
    with written(dated, tmp_path / "two") as file:
        assert file.identifier == first
    with written(results, tmp_path / "three") as file:
        assert file.identifier != first


def test_the_recording_is_named_from_the_files_folder_with_a_time_for_each_of_its_frames(
    varied: VideoResults, tmp_path: Path
) -> None:
    video = tmp_path / "videos" / "cage 4.mp4"
    with written(varied, tmp_path / "out", video=video) as file:
        recording = file.acquisition["source_video"]
        assert recording.external_file[:].tolist() == ["../videos/cage 4.mp4"]
        assert recording.dimension[:].tolist() == [640, 480]
        assert len(recording.timestamps) == 130
        np.testing.assert_array_equal(recording.timestamps[100:], varied.times_s)
        assert recording.timestamps[50] == pytest.approx(varied.times_s[0] / 2)
        poses = file.processing["behavior"]["PoseEstimation"]
        assert poses.source_video.name == "source_video"
    with written(varied, tmp_path / "beside") as file:
        assert file.acquisition["source_video"].external_file[:].tolist() == ["cage 4.mp4"]


def test_pictures_without_times_stand_at_a_second_each(
    results: VideoResults, tmp_path: Path
) -> None:
    names = tuple(f"{number}.png" for number in range(30))
    source = msgspec.structs.replace(results.provenance.source, name="cage 4", pictures=names)
    info = replace(results.provenance.info, frame_rate_hz=0.0)
    provenance = msgspec.structs.replace(results.provenance, source=source, info=info)
    pictures = replace(results, provenance=provenance, pts_ns=np.zeros(30, np.int64))
    with written(pictures, tmp_path) as file:
        frames = file.processing["behavior"]["frames"]
        assert frames.timestamps[:].tolist() == list(range(30))
        assert "no times" in frames.comments
        assert len(file.acquisition["source_video"].external_file) == 30
        bouts = file.intervals["bouts"]
        assert (bouts["start_time"][0], bouts["stop_time"][0]) == (10, 16)


def test_names_that_nwb_keeps_for_paths_are_changed(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    bundle = make_behavior_bundle()
    assert bundle.behavior is not None
    behavior = msgspec.structs.replace(bundle.behavior, behaviors=("walk/run", "rear"))
    results = make_results(msgspec.structs.replace(bundle, behavior=behavior))
    with written(results, tmp_path) as file:
        assert sorted(file.processing["behavior"]["Probabilities"].time_series) == [
            "rear",
            "walk_run",
        ]
        assert file.intervals["bouts"]["label"][0] == "walk/run"
        assert json.loads(file.notes)["bundles"][0]["behavior"]["behaviors"][0] == "walk/run"

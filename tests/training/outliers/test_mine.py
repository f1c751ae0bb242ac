from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from service.errors import InvalidRequest, VideoNotFound
from service.tracks import Track, write_tracks
from training.data.deeplabcut_config import read_config
from training.outliers.mine import mine_outliers
from training.outliers.settings import OutlierSettings, PickSettings

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")


def mine(mining, predictions, *, picking=None, video=None, **settings):
    return mine_outliers(
        read_config(mining.project),
        predictions,
        OutlierSettings(**settings),
        picking or PickSettings(),
        video=video,
    )


def read_labels(mining):
    return pd.read_hdf(mining.folder / "machinelabels-iter2.h5", "df_with_missing")


@pytest.mark.parametrize("kind", ["h5", "record"])
def test_the_faults_of_predictions_are_found_and_written_for_correction(mining, tmp_path, kind):
    predictions = mining.write_h5() if kind == "h5" else mining.write_record(tmp_path / "out")
    found = mine(mining, predictions, methods=("jump", "uncertain"))
    # A jump there, and a jump back: 20, 22; 55, 56. And the two that are unsure.
    assert found.picked == (20, 22, 33, 55, 56, 70)
    assert [(one.method, one.frames) for one in found.found] == [("jump", 4), ("uncertain", 2)]
    assert found.found[0].by_keypoint == {"snout": 2, "leftear": 0, "rightear": 2, "tailbase": 0}
    assert (found.frames, found.outliers, found.present, found.damaged) == (90, 6, 0, 0)
    names = [f"img{index}.png" for index in found.picked]
    assert sorted(path.name for path in mining.folder.glob("*.png")) == names
    labels = read_labels(mining)
    assert list(labels.index) == [("labeled-data", "mouse", name) for name in names]
    scorer = "DLC_Resnet50_test" if kind == "h5" else "ethostream_mouse_v4"
    assert set(labels.columns.get_level_values("scorer")) == {scorer}
    values = labels.to_numpy().reshape(6, 4, 3)
    rows = list(found.picked)
    np.testing.assert_allclose(values[..., :2], mining.keypoints_xy[rows, 0], rtol=1e-6)
    np.testing.assert_allclose(values[..., 2], mining.confidence[rows, 0], rtol=1e-6)


def test_the_csv_holds_the_same_and_collected_labels_are_left_alone(mining):
    mining.folder.mkdir(parents=True)
    made_by_hand = mining.folder / "CollectedData_person.csv"
    made_by_hand.write_text("mine")
    mine(mining, mining.write_h5())
    assert made_by_hand.read_text() == "mine"
    assert sorted(path.suffix for path in mining.folder.glob("machine*")) == [".csv", ".h5"]
    read = pd.read_csv(
        mining.folder / "machinelabels-iter2.csv", header=[0, 1, 2], index_col=[0, 1, 2]
    )
    np.testing.assert_allclose(read.to_numpy(), read_labels(mining).to_numpy())
    lines = (mining.folder / "machinelabels-iter2.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[:4]] == [
        "scorer", "bodyparts", "coords", "labeled-data",
    ]  # fmt: skip


def test_a_second_search_adds_rows_and_keeps_those_that_are_there(mining):
    predictions = mining.write_h5()
    mine(mining, predictions, methods=("uncertain",))
    corrected = read_labels(mining)
    corrected.iloc[0, 0] = 1.5
    corrected.to_hdf(mining.folder / "machinelabels-iter2.h5", key="df_with_missing", mode="w")
    corrected.to_csv(mining.folder / "machinelabels-iter2.csv")
    before = (mining.folder / "img33.png").read_bytes()
    found = mine(mining, predictions, methods=("jump", "uncertain"))
    assert found.picked == (20, 22, 55, 56)
    assert found.present == 2
    labels = read_labels(mining)
    assert len(labels) == 6
    assert labels.loc[("labeled-data", "mouse", "img33.png")].iloc[0] == 1.5
    assert (mining.folder / "img33.png").read_bytes() == before
    again = mine(mining, predictions, methods=("jump", "uncertain"))
    assert again.picked == ()
    assert again.message == "the pictures of all outliers are there already"


@pytest.mark.parametrize("pick", ["kmeans", "uniform"])
def test_of_many_outliers_as_many_as_asked_are_picked(mining, pick):
    found = mine(
        mining, mining.write_h5(), methods=("list",), frames=tuple(range(10, 80)),
        picking=PickSettings(pick=pick, number=6),
    )  # fmt: skip
    assert found.outliers == 70
    assert len(found.picked) == 6
    assert set(found.picked) <= set(range(10, 80))
    assert len(read_labels(mining)) == 6


def test_of_a_list_all_are_taken_unless_a_number_is_given(mining):
    found = mine(mining, mining.write_h5(), methods=("list",), frames=tuple(range(30)))
    assert found.picked == tuple(range(30))


def test_a_dry_run_counts_and_writes_nothing(mining):
    found = mine(mining, mining.write_h5(), picking=PickSettings(dry_run=True))
    assert found.outliers == 4
    assert found.picked == ()
    assert found.message == "nothing was written, as asked"
    assert not mining.folder.exists()
    assert not (mining.project / "contact-sheets").exists()


def test_the_contact_sheet_shows_the_points(mining):
    found = mine(mining, mining.write_h5(), methods=("list",), frames=(5,))
    sheet = cv2.imread(found.contact_sheet)
    assert found.contact_sheet.endswith("contact-sheets/mouse-outliers-iter2.png")
    picture = cv2.resize(cv2.imread(found.pictures[0]), (320, 240))
    tile = sheet[30:270, 6:326]
    x, y = np.rint((mining.keypoints_xy[5, 0, 0] + 0.5) * 2 - 0.5).astype(int)
    around = slice(y - 2, y + 3), slice(x - 2, x + 3)
    assert np.abs(tile[around].astype(int) - picture[around]).mean() > 30
    assert np.abs(tile[:20].astype(int) - picture[:20]).mean() < 5


def test_parts_that_only_one_side_knows_are_left_out_or_empty(mining, set_config):
    set_config(mining.project, mining.video, parts=("tailbase", "hump", "snout"))
    mine(mining, mining.write_h5(), methods=("list",), frames=(5,))
    labels = read_labels(mining)
    assert list(labels.columns.get_level_values("bodyparts")[::3]) == ["tailbase", "hump", "snout"]
    values = labels.to_numpy().reshape(3, 3)
    np.testing.assert_allclose(values[[0, 2], :2], mining.keypoints_xy[5, 0, [3, 0]], rtol=1e-6)
    assert np.isnan(values[1]).all()
    set_config(mining.project, mining.video, parts=("hump",))
    with pytest.raises(InvalidRequest, match="none in common; correct bodyparts"):
        mine(mining, mining.write_h5(), methods=("list",), frames=(6,))


def test_several_animals_are_written_as_individuals(mining, set_config, tmp_path):
    record = mining.write_record(tmp_path / "out", animals=2)
    with pytest.raises(InvalidRequest, match=r"2 animals, and the project .* has 1; add individua"):
        mine(mining, record, methods=("list",), frames=(6,))
    assert not mining.folder.exists(), "a picture without labels would not be picked again"
    set_config(
        mining.project, mining.video, parts=("snout", "leftear", "rightear"),
        individuals=("ada", "bea", "cleo"), unique=("tailbase",),
    )  # fmt: skip
    found = mine(mining, record, methods=("list",), frames=(6,))
    labels = read_labels(mining)
    assert labels.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(labels.columns.droplevel("scorer").droplevel("coords").unique()) == [
        *((animal, part) for animal in ("ada", "bea", "cleo")
          for part in ("snout", "leftear", "rightear")),
        ("single", "tailbase"),
    ]  # fmt: skip
    values = labels.to_numpy().reshape(10, 3)[:, :2]
    truth = mining.keypoints_xy[6, 0]
    np.testing.assert_allclose(values[:3], truth[:3], rtol=1e-6)
    np.testing.assert_allclose(values[3:6], truth[:3], rtol=1e-6)
    assert np.isnan(values[6:9]).all()
    np.testing.assert_allclose(values[9], truth[3], rtol=1e-6)
    assert found.picked == (6,)


def test_sleap_opens_its_file_and_finds_the_points(mining, tmp_path):
    import sleap_io

    record = mining.write_record(tmp_path / "out")
    sleap = PickSettings(label_format="sleap")
    found = mine(mining, record, picking=sleap)
    (path,) = found.labels
    assert path.endswith("machinelabels-iter2.slp")
    labels = sleap_io.load_slp(path)
    # The link in the project, whose name is that of its folder of labels.
    assert labels.videos[0].filename == str(mining.video)
    assert [frame.frame_idx for frame in labels] == [20, 22, 55, 56]
    assert labels.skeletons[0].node_names == ["snout", "leftear", "rightear", "tailbase"]
    assert labels.skeletons[0].edge_names == [("snout", "tailbase")] or labels.skeletons[
        0
    ].edge_inds == [(0, 3)]
    instance = labels[0].instances[0]
    assert isinstance(instance, sleap_io.PredictedInstance)
    np.testing.assert_allclose(instance.numpy(), mining.keypoints_xy[20, 0], rtol=1e-5)
    again = mine(mining, record, picking=sleap, methods=("uncertain",))
    assert again.labels[0].endswith("machinelabels-iter2-2.slp")


def test_the_video_is_found_by_record_and_by_name_or_asked_for(mining, tmp_path):
    elsewhere = mining.write_h5(tmp_path / "mouseDLC_resnet.h5")
    assert mine(mining, elsewhere).video == str(mining.video)
    strange = mining.write_h5(tmp_path / "predictions.h5")
    with pytest.raises(VideoNotFound, match=r"predictions.h5 begins with .* name it with --video"):
        mine(mining, strange)
    assert len(mine(mining, strange, video=mining.video, methods=("uncertain",)).picked) == 2
    with pytest.raises(VideoNotFound, match="correct --video"):
        mine(mining, strange, video=tmp_path / "gone.mp4")


def test_a_record_of_another_file_of_that_name_is_refused(mining, tmp_path):
    record = mining.write_record(tmp_path / "out")
    data = mining.video.read_bytes()
    mining.video.unlink()
    with pytest.raises(VideoNotFound, match=r"is of mouse.mp4, which is neither"):
        mine(mining, record)
    mining.video.write_bytes(data + b"more")
    with pytest.raises(InvalidRequest, match="analyze the video again, or name the right one"):
        mine(mining, record)


def test_predictions_longer_than_the_video_are_refused(mining):
    long = type(mining)(
        mining.project,
        mining.video,
        np.repeat(mining.keypoints_xy, 2, axis=0),
        np.repeat(mining.confidence, 2, axis=0),
    )
    with pytest.raises(InvalidRequest, match=r"up to frame 179, but .* has 90 frames"):
        mine(mining, long.write_h5())


def test_nothing_found_says_what_to_change(mining):
    found = mine(mining, mining.write_h5(), epsilon_px=500.0)
    assert found.picked == ()
    assert "no frame is an outlier by jump; lower --epsilon" in found.message
    assert not mining.folder.exists()


def test_tables_of_older_versions_are_extended(mining):
    predictions = mining.write_h5()
    mine(mining, predictions, methods=("uncertain",))
    old = read_labels(mining)
    old.index = ["\\".join(row) for row in old.index]  # one level, written on Windows
    old.to_hdf(mining.folder / "machinelabels-iter2.h5", key="df_with_missing", mode="w")
    mine(mining, predictions)
    names = [picture for _, _, picture in read_labels(mining).index]
    assert names == [f"img{index}.png" for index in (20, 22, 33, 55, 56, 70)]


def test_corrections_in_one_of_both_files_are_never_lost(mining):
    predictions = mining.write_h5()
    mine(mining, predictions, methods=("uncertain",))
    corrected = read_labels(mining)
    corrected.iloc[0, 0] = 1.5
    corrected.to_csv(mining.folder / "machinelabels-iter2.csv")
    with pytest.raises(InvalidRequest, match=r"differ .*move the wrong one away"):
        mine(mining, predictions)
    assert len(list(mining.folder.glob("*.png"))) == 2
    (mining.folder / "machinelabels-iter2.h5").unlink()
    assert len(mine(mining, predictions).picked) == 4
    assert read_labels(mining).loc[("labeled-data", "mouse", "img33.png")].iloc[0] == 1.5


def test_broken_machine_labels_are_not_replaced(mining):
    mining.folder.mkdir(parents=True)
    (mining.folder / "machinelabels-iter2.h5").write_bytes(b"broken")
    with pytest.raises(InvalidRequest, match=r"machinelabels-iter2.h5 is damaged .*restore it"):
        mine(mining, mining.write_h5())
    assert (mining.folder / "machinelabels-iter2.h5").read_bytes() == b"broken"
    assert not list(mining.folder.glob("*.png"))


def test_animals_that_change_places_in_the_predictions_keep_their_names(
    mining, set_config, tmp_path
):
    set_config(
        mining.project, Path("/elsewhere/mouse.mp4"), parts=KEYPOINTS[:3],
        individuals=("ada", "bea"), unique=("tailbase",),
    )  # fmt: skip
    positions = np.repeat(mining.keypoints_xy, 2, axis=1) + np.array([[0], [9]])[..., None]
    positions[:, 1, 3] = np.nan
    track = Track(
        source=tmp_path / "nowhere",
        model="net@1",
        keypoints=KEYPOINTS,
        animals=2,
        frame_rate_hz=30.0,
        frame_index=np.arange(len(positions)),
        keypoints_xy=positions.astype(np.float32),
        confidence=np.repeat(mining.confidence, 2, axis=1),
        animal_names=("bea", "ada"),
        unique_keypoints=("tailbase",),
    )
    (path,) = write_tracks(track, tmp_path / "mouse_tracked", ["parquet"])
    mine(mining, path, video=mining.video, methods=("list",), frames=(7,))
    labels = read_labels(mining).droplevel("scorer", axis=1).iloc[0]
    for name, animal in (("bea", 0), ("ada", 1)):
        assert labels[name, "snout", "x"] == pytest.approx(positions[7, animal, 0, 0], rel=1e-6)
    assert labels["single", "tailbase", "x"] == pytest.approx(positions[7, 0, 3, 0], rel=1e-6)

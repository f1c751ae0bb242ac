import cv2
import numpy as np
import pytest

from service.errors import InvalidRequest, InvalidVideo, VideoNotFound
from training.frames.extract import Picking, extract_frames
from training.frames.span import parse_moment


def pick(video, folder, **choices):
    return extract_frames(
        video, Picking(**choices), folder=folder / "clip", contact_sheets=folder / "sheets"
    )


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize("method", ["uniform", "kmeans"])
def test_pictures_are_the_frames_that_their_names_say(recorded, tmp_path, method):
    found = pick(recorded.video, tmp_path, method=method, number=7)
    assert found.video_frames == 60
    assert len(found.picked) == len(set(found.picked)) == 7
    assert [f"clip/img{index:02d}.png" for index in found.picked] == [
        path.removeprefix(f"{tmp_path}/") for path in found.pictures
    ]
    for index, path in zip(found.picked, found.pictures, strict=True):
        np.testing.assert_array_equal(read(path), recorded.frames[index])


@pytest.mark.parametrize("method", ["uniform", "kmeans"])
def test_the_seed_decides_the_choice(recorded, tmp_path, method):
    choices = [
        pick(recorded.video, tmp_path / str(number), method=method, number=5, seed=seed).picked
        for number, seed in enumerate([0, 0, 1])
    ]
    assert choices[0] == choices[1] != choices[2]


def test_kmeans_takes_one_frame_of_each_scene(scenes, tmp_path):
    for seed in range(5):
        found = pick(scenes, tmp_path / str(seed), method="kmeans", number=3, seed=seed)
        assert [index // 15 for index in found.picked] == [0, 1, 2]


def test_scenes_that_have_a_picture_are_passed_over(scenes, tmp_path):
    pick(scenes, tmp_path, method="list", frames=(20,))
    found = pick(scenes, tmp_path, method="kmeans", number=3)
    assert found.present == 1
    assert [index // 15 for index in found.picked] == [0, 2]


@pytest.mark.parametrize("method", ["uniform", "kmeans"])
def test_pictures_that_are_there_count_and_stay_as_they_are(recorded, tmp_path, method):
    there = tmp_path / "clip" / "img007.png"  # another number of digits is the same frame
    there.parent.mkdir()
    there.write_bytes(b"labelled by hand")
    found = pick(recorded.video, tmp_path, method=method, number=60)
    assert len(found.picked) == 59
    assert 7 not in found.picked
    assert there.read_bytes() == b"labelled by hand"
    again = pick(recorded.video, tmp_path, method=method, number=60)
    assert again.picked == ()
    assert again.present == 60
    assert "60 pictures are there already" in again.message
    assert len(list((tmp_path / "clip").iterdir())) == 60


def test_only_the_span_and_its_steps_are_picked_from(recorded, tmp_path):
    found = pick(
        recorded.video, tmp_path, method="uniform", number=5,
        start=parse_moment("0.25"), stop=parse_moment("1s"), step=3,
    )  # fmt: skip
    assert found.picked == (15, 18, 21, 24, 27)


def test_the_crop_cuts_the_pictures(recorded, tmp_path):
    found = pick(recorded.video, tmp_path, method="list", frames=(3,), crop_xywh=(10, 20, 40, 30))
    np.testing.assert_array_equal(read(found.pictures[0]), recorded.frames[3][20:50, 10:50])
    with pytest.raises(InvalidRequest, match=r"96x72 px; give another --crop"):
        pick(recorded.video, tmp_path, method="uniform", number=2, crop_xywh=(60, 0, 40, 30))


def test_a_list_is_taken_as_it_is(recorded, tmp_path):
    found = pick(recorded.video, tmp_path, method="list", frames=(59, 0, 31))
    assert found.picked == (0, 31, 59)
    with pytest.raises(InvalidRequest, match="0 to 59; 60, 90 cannot be taken: correct --frames"):
        pick(recorded.video, tmp_path, method="list", frames=(60, 2, 90))


def test_damaged_frames_are_replaced_and_counted(scenes, tmp_path, damage_frames):
    damaged = range(0, 40)
    damage_frames(scenes, damaged)
    for method in ("uniform", "kmeans"):
        found = pick(scenes, tmp_path / method, method=method, number=4)
        assert len(found.picked) == 4
        assert min(found.picked) >= 40
        assert 0 < found.damaged <= 40
        assert found.message == ""
    all_there_is = pick(scenes, tmp_path / "more", method="uniform", number=12)
    assert all_there_is.picked == (40, 41, 42, 43, 44)
    assert all_there_is.message == "5 pictures instead of 12: others are damaged"
    listed = pick(scenes, tmp_path / "list", method="list", frames=(3, 42))
    assert listed.picked == (42,)
    assert listed.damaged == 1
    assert listed.message == "damaged in the video, not written: 3"


def test_a_contact_sheet_shows_what_was_picked_and_never_replaces_another(scenes, tmp_path):
    first = pick(scenes, tmp_path, method="list", frames=(2, 20, 40))
    second = pick(scenes, tmp_path, method="uniform", number=5)
    assert first.contact_sheet == str(tmp_path / "sheets" / "clip.png")
    assert second.contact_sheet == str(tmp_path / "sheets" / "clip-2.png")
    sheet = read(first.contact_sheet)
    tiles = [sheet[60:200, 100 + 326 * place : 250 + 326 * place].mean() for place in range(3)]
    np.testing.assert_allclose(tiles, [30, 125, 220], atol=4)


def test_videos_that_cannot_serve_are_refused_with_a_remedy(recorded, tmp_path):
    with pytest.raises(InvalidRequest, match=r"mouse.mkv has 60 frames .* give a smaller --number"):
        pick(recorded.video, tmp_path, method="uniform", number=61)
    with pytest.raises(InvalidRequest, match="none from 10s to 20s"):
        pick(
            recorded.video, tmp_path, method="uniform", number=1,
            start=parse_moment("10s"), stop=parse_moment("20s"),
        )  # fmt: skip
    with pytest.raises(VideoNotFound):
        pick(tmp_path / "nothing.mp4", tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InvalidVideo, match="record or copy it again"):
        pick(tmp_path / "empty.mp4", tmp_path)
    assert not (tmp_path / "clip").exists()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"method": "manual"}, "uniform, kmeans, list"),
        ({"number": 0}, "at least 1"),
        ({"step": 0}, "at least 1"),
        ({"method": "list"}, "--frames 10,250"),
        ({"method": "kmeans", "frames": (1,)}, "no other method"),
    ],
)
def test_wrong_choices_are_refused(choices, message):
    with pytest.raises(InvalidRequest, match=message):
        Picking(**choices)


@pytest.mark.real_data
def test_key_frames_that_only_look_damaged_after_a_seek_are_read(shared_data, tmp_path):
    video = next((shared_data / "dlc-openfield").glob("*/videos/m3v1mp4.mp4"))
    more = pick(video, tmp_path, method="uniform", number=3)
    assert more.video_frames == 2330
    assert len(more.picked) == 3
    assert more.damaged == 0
    cap = cv2.VideoCapture(str(video))
    for _ in range(more.picked[0] + 1):
        _, frame = cap.read()
    cap.release()
    ours = read(tmp_path / "clip" / f"img{more.picked[0]:04d}.png").astype(int)
    # OpenCV converts colors with other rounding.
    assert np.abs(ours - frame[..., ::-1]).max() <= 3

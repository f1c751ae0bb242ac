import pytest

from service.errors import InvalidRequest
from training.frames.options import parse_crop, parse_frames
from training.frames.pictures import folder_names, picture_name
from training.frames.span import Moment, frames_between, parse_moment


def test_lists_of_frames_are_read_with_ranges():
    assert parse_frames("250, 10,12-14,13") == (10, 12, 13, 14, 250)
    for text in ("ten", "3-", "1-2-3", "", "-4"):
        with pytest.raises(InvalidRequest, match="10,250,300-310"):
            parse_frames(text)


def test_crops_are_read():
    assert parse_crop("100,0, 640,480") == (100, 0, 640, 480)
    for text in ("1,2,3", "a,b,c,d", "1.5,0,10,10", "-1,0,10,10"):
        with pytest.raises(InvalidRequest, match="100,0,640,480"):
            parse_crop(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0.25", Moment(0.25, in_seconds=False)),
        ("25%", Moment(0.25, in_seconds=False)),
        ("1", Moment(1, in_seconds=False)),
        ("30s", Moment(30, in_seconds=True)),
        (" 0.5s ", Moment(0.5, in_seconds=True)),
    ],
)
def test_moments_are_shares_or_seconds(text, moment):
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["1.5", "-0.1", "-3s", "soon", "nan", "infs", "120%", ""])
def test_what_is_neither_is_refused(text):
    with pytest.raises(InvalidRequest, match=r"a share of it such as 0\.25, or seconds"):
        parse_moment(text)


def span(start, stop, frames=100, rate=25.0):
    return frames_between(
        parse_moment(start), parse_moment(stop), frames=frames, frame_rate_hz=rate, video="v.mp4"
    )


def test_spans_are_cut_to_the_video():
    assert span("0", "1") == range(100)
    assert span("0.101", "0.5") == range(10, 50)
    assert span("1s", "90s") == range(25, 100)
    with pytest.raises(InvalidRequest, match=r"v.mp4 has 100 frames, 4.0 s: there is none"):
        span("0.5", "0.5")
    with pytest.raises(InvalidRequest, match="does not say its frame rate"):
        span("1s", "1", rate=0.0)


def test_pictures_are_named_as_deeplabcut_names_them():
    # ceil(log10(number of frames)) digits
    assert picture_name(5, 1000) == "img005.png"
    assert picture_name(5, 1001) == "img0005.png"
    assert picture_name(999, 1000) == "img999.png"
    assert picture_name(0, 1) == "img0.png"


def test_two_videos_of_one_name_are_refused(tmp_path):
    one, two = tmp_path / "a" / "cage.mp4", tmp_path / "b" / "cage.avi"
    assert folder_names([one]) == {one: "cage"}
    with pytest.raises(InvalidRequest, match="one folder, cage"):
        folder_names([one, two])

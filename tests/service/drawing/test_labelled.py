"""Pictures and videos of tracks: looked at through the pixels that they must change."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from service.drawing import track_plots
from service.drawing.colors import series_color
from service.drawing.contact_sheet import Tile, draw_contact_sheet, read_frames
from service.drawing.encode import open_video, suffix_of
from service.drawing.labelled import LabelledOptions, draw_labelled
from service.drawing.track_plots import draw_track
from service.encoders import CODEC_NAMES
from service.errors import InvalidConfig, InvalidRequest, InvalidVideo
from service.tracks import Track

WIDTH_PX, HEIGHT_PX, FRAMES = 160, 120, 12


@pytest.fixture(scope="module")
def gray_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames at 25 Hz, each a little lighter than the one before."""
    path = tmp_path_factory.mktemp("video") / "gray.mkv"
    with open_video(path, "ffv1", 25.0) as writer:
        for place in range(FRAMES):
            pixels = np.full((HEIGHT_PX, WIDTH_PX, 3), 40 + 10 * place, np.uint8)
            writer.write(pixels, place / 25)
    return path


@pytest.fixture
def pair() -> Track:
    """Two keypoints of two animals; the second one moves down by 4 px a frame."""
    positions = np.empty((FRAMES, 2, 2, 2), np.float32)
    positions[:, 0] = [[30, 20], [60, 20]]
    positions[:, 1] = [[100, 20], [130, 20]]
    positions[:, 1, :, 1] += 4 * np.arange(FRAMES)[:, None]
    return Track(
        source=Path("gray.parquet"),
        model="pair@1",
        keypoints=("nose", "tail"),
        animals=2,
        frame_rate_hz=25.0,
        frame_index=np.arange(FRAMES),
        keypoints_xy=positions,
        confidence=np.full(positions.shape[:-1], 0.9, np.float32),
        skeleton=(("nose", "tail"),),
    )


def draw(video, track, tmp_path, **options) -> list[np.ndarray]:
    chosen = LabelledOptions(codec="ffv1", dot_px=4.0, **options)
    out = tmp_path / f"drawn{suffix_of('ffv1')}"
    draw_labelled(video, track, out, chosen)
    with av.open(str(out)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def near(pixel, color) -> bool:
    return bool((np.abs(pixel.astype(int) - np.array(color)) <= 2).all())


def test_points_have_the_color_of_their_keypoint_or_of_their_animal(gray_video, pair, tmp_path):
    by_keypoint = draw(gray_video, pair, tmp_path)
    assert len(by_keypoint) == FRAMES
    frame = by_keypoint[5]
    assert near(frame[20, 33], series_color(0))
    assert near(frame[20, 63], series_color(1))
    assert near(frame[40, 133], series_color(1))
    assert near(frame[100, 10], (90, 90, 90))  # the recording itself: 40 + 5 * 10
    by_animal = draw(gray_video, pair, tmp_path, color_by="animal")[5]
    assert near(by_animal[20, 27], series_color(0))
    assert near(by_animal[40, 97], series_color(1))


def test_the_skeleton_is_drawn_in_animals_and_never_across_detections(gray_video, pair, tmp_path):
    middle = (20, 45)
    assert not near(draw(gray_video, pair, tmp_path)[0][middle], (40, 40, 40))
    assert near(draw(gray_video, pair, tmp_path, skeleton=False)[0][middle], (40, 40, 40))
    detections = draw(gray_video, replace(pair, rows="detections"), tmp_path, trail_frames=5)
    assert near(detections[0][middle], (40, 40, 40))
    assert near(detections[0][20, 33], series_color(0))


def test_points_below_the_cutoff_are_left_out(gray_video, pair, tmp_path):
    confidence = pair.confidence.copy()
    confidence[3, 0, 0] = 0.2
    frames = draw(gray_video, replace(pair, confidence=confidence), tmp_path)
    assert near(frames[3][20, 33], (70, 70, 70))
    assert near(frames[4][20, 33], series_color(0))
    lower = draw(gray_video, replace(pair, confidence=confidence), tmp_path, cutoff=0.1)
    assert near(lower[3][20, 33], series_color(0))


def test_trails_show_where_a_point_has_been(gray_video, pair, tmp_path):
    ground = 40 + 10 * 11
    without = draw(gray_video, pair, tmp_path)[11]
    trail = draw(gray_video, pair, tmp_path, trail_frames=8)[11]
    at = (64 - 4 * 5, 100)
    assert near(without[at], (ground,) * 3)
    assert not near(trail[at], (ground,) * 3)
    assert near(trail[64 - 4 * 10, 100], (ground,) * 3)  # too long ago


def test_on_black_only_the_points_are_left(gray_video, pair, tmp_path):
    frame = draw(gray_video, pair, tmp_path, keypoints_only=True)[5]
    assert near(frame[100, 10], (0, 0, 0))
    assert near(frame[20, 33], series_color(0))


def test_crop_and_scale_move_the_points_with_the_picture(gray_video, pair, tmp_path):
    frame = draw(gray_video, pair, tmp_path, crop_xywh=(20, 10, 60, 40), scale=2.0)[0]
    assert frame.shape == (80, 120, 3)
    assert near(frame[20, 24], series_color(0))
    assert near(frame[20, 30], (40, 40, 40)) is False  # the bone
    assert near(frame[60, 30], (40, 40, 40))
    with pytest.raises(InvalidRequest, match="does not lie in the frame of 160x120"):
        draw(gray_video, pair, tmp_path, crop_xywh=(120, 0, 60, 40))


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_every_codec_writes_a_video_that_plays_at_the_rate_asked_for(
    gray_video, pair, tmp_path, codec
):
    out = tmp_path / f"drawn{suffix_of(codec)}"
    options = LabelledOptions(codec=codec, fps=10.0, crop_xywh=(0, 0, 81, 61))
    assert draw_labelled(gray_video, pair, out, options) == FRAMES
    with av.open(str(out)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        assert container.streams.video[0].width == 82  # an odd width is filled up
    np.testing.assert_allclose(times, np.arange(FRAMES) / 10, atol=2e-3)


def test_frames_can_be_written_as_pictures_and_only_those_of_the_track(gray_video, pair, tmp_path):
    keep = slice(4, 7)
    part = replace(
        pair,
        frame_index=pair.frame_index[keep],
        keypoints_xy=pair.keypoints_xy[keep],
        confidence=pair.confidence[keep],
    )
    frames = draw(gray_video, part, tmp_path, pictures=True)
    assert len(frames) == 3
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["frame000004.png", "frame000005.png", "frame000006.png"]
    with Image.open(tmp_path / "drawn" / names[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), frames[0])


@pytest.mark.parametrize("later", [1, 100])
def test_a_track_of_another_video_is_refused_and_leaves_no_file(gray_video, pair, tmp_path, later):
    other = replace(pair, frame_index=pair.frame_index + later)
    with pytest.raises(InvalidRequest, match=r"has 12; give the video that was analyzed"):
        draw(gray_video, other, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"cutoff": 2.0}, {"codec": "divx"}, {"scale": 0.0}, {"trail_frames": -1}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidConfig):
        LabelledOptions(**options)


def test_frames_are_read_by_number_in_any_order(gray_video):
    found = read_frames(gray_video, [7, 2])
    assert near(found[7][0, 0], (110,) * 3)
    assert near(found[2][0, 0], (60,) * 3)
    with pytest.raises(InvalidVideo, match="no whole frame 50"):
        read_frames(gray_video, [2, 50])


@pytest.mark.real_data
def test_frames_of_a_file_that_cannot_be_entered_midway_are_read_from_its_beginning(shared_data):
    video = next((shared_data / "dlc-openfield").rglob("m3v1mp4.mp4"))
    found = read_frames(video, [400])
    with av.open(str(video)) as container:
        for place, frame in enumerate(container.decode(video=0)):
            if place == 400:
                expected = frame.to_ndarray(format="rgb24")
                break
    assert np.abs(found[400].astype(int) - expected).mean() < 2


def test_a_contact_sheet_shows_each_frame_around_its_animals(gray_video, pair, tmp_path):
    confidence = pair.confidence.copy()
    confidence[9, 0, 0] = 0.1
    out = tmp_path / "sheet.png"
    draw_contact_sheet(
        gray_video,
        replace(pair, confidence=confidence),
        [Tile(row=9, caption="frame 9"), Tile(row=1, caption="frame 1")],
        out,
        cutoff=0.6,
        span_px=60,
        columns=2,
    )
    with Image.open(out) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (338, 618, 3)
    # 125 px of the video (1.25 times the way between the outer points) are 300 px of the sheet.
    assert near(pixels[6 + 150, 6 + 150], (130,) * 3)
    assert near(pixels[6 + 220, 6 + 306 + 150], (50,) * 3)


def test_the_plot_of_a_track_is_drawn_with_and_without_a_frame_rate(pair, tmp_path):
    for rate_hz in (25.0, 0.0):
        out = tmp_path / f"{rate_hz}.png"
        draw_track(replace(pair, frame_rate_hz=rate_hz), out, cutoff=0.6, animal=1)
        with Image.open(out) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        for place in (0, 1):
            away = np.abs(pixels.astype(int) - np.array(series_color(place))).max(axis=-1)
            assert (away < 40).sum() > 100
    with pytest.raises(InvalidRequest, match="no animal 3"):
        draw_track(pair, tmp_path / "none.png", cutoff=0.6, animal=2)


def test_the_plot_of_a_track_writes_plain_numbers_of_frames(pair, tmp_path, monkeypatch):
    written: list[str] = []

    def read(figure, out):
        figure.draw_without_rendering()
        for axes in figure.axes:
            written.extend(one.get_text() for one in axes.get_yticklabels())

    monkeypatch.setattr(track_plots, "save_figure", read)
    draw_track(pair, tmp_path / "plot.png", cutoff=0.6)
    assert "10" in written
    assert [one for one in written if "$" in one] == []


def test_detections_are_not_plotted_as_ways_of_animals(pair, tmp_path):
    with pytest.raises(InvalidRequest, match="a plot of ways needs animals"):
        draw_track(replace(pair, rows="detections"), tmp_path / "none.png", cutoff=0.6)

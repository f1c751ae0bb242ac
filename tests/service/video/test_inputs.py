"""Inputs of models that the decoder makes are those of `to_model_input` from RGB pixels."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import InvalidConfig, InvalidFrame
from service.preprocess import CropRegion, to_model_input
from service.values import FrameStatus
from service.video import DecodeWorkers
from service.video.inputs import InputConverter
from service.video.pictures import PictureList
from service.video.pixels import PixelConverter
from service.video.pyav import VideoFile

BT_709, UNSPECIFIED, FCC, BT_601, SMPTE_240M, BT_2020 = 1, 2, 4, 5, 7, 9
LIMITED, FULL = 1, 2
GRAY = InputSpec(width_px=64, height_px=48, color="gray", fit="letterbox")
COLOR = InputSpec(width_px=48, height_px=48, color="rgb", fit="letterbox")
WIDE = InputSpec(width_px=96, height_px=32, color="gray", fit="stretch")


def picture(
    pixel_format: str, *, color: int = 0, matrix: int = UNSPECIFIED, color_range: int = 0
) -> av.VideoFrame:
    """160 x 120 px of slopes and noise; chroma is a slope of up to `color` about its middle."""
    made = av.VideoFrame(160, 120, pixel_format)
    made.colorspace, made.color_range = matrix, color_range
    noise = np.random.default_rng(7)
    for number, plane in enumerate(made.planes):
        y, x = np.indices((plane.height, plane.width))
        if number == 0:
            values = 60 + 80 * x / plane.width + 40 * y / plane.height
            values = values + noise.normal(0, 6, values.shape)
        else:
            values = 128 + color * (x / plane.width - y / plane.height) * (1 if number == 1 else -1)
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        lines[:, : plane.width] = np.rint(values)
        plane.update(lines.tobytes())
    return made


def both(
    shown: av.VideoFrame, spec: InputSpec, crop: CropRegion | None = None, rotation_deg: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """What the converter makes, and what the definition does."""
    converter = PixelConverter("rgb", shown.width, shown.height, rotation_deg)
    inputs = InputConverter(converter, (spec,), crop)
    out = np.full(inputs.shapes[0], 99, np.uint8)
    inputs.convert(shown, (out,))
    return out, to_model_input(converter.view(shown).copy(), spec, crop)[0]


@pytest.mark.parametrize("spec", [GRAY, WIDE, COLOR])
@pytest.mark.parametrize("matrix", [UNSPECIFIED, BT_601, BT_709])
@pytest.mark.parametrize("color_range", [0, LIMITED, FULL])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "gray"])
def test_pictures_without_color_give_the_same_bits(pixel_format, color_range, matrix, spec):
    got, want = both(picture(pixel_format, matrix=matrix, color_range=color_range), spec)
    assert np.array_equal(got, want)
    assert got.max() > 100


@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_gray_of_a_colored_picture_is_its_luma_to_what_rgb_rounds_away(pixel_format, color_range):
    got, want = both(picture(pixel_format, color=60, color_range=color_range), GRAY)
    apart = np.abs(got.astype(int) - want.astype(int))
    assert 1 <= apart.max() <= 3  # each of three colors, and chroma's share in it, rounds down
    assert apart.mean() < 1


@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [UNSPECIFIED, BT_709, FCC, BT_601, SMPTE_240M, BT_2020])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_colors_are_those_of_rgb_frames_to_what_these_round_away(pixel_format, matrix, color_range):
    shown = picture(pixel_format, color=30, matrix=matrix, color_range=color_range)
    got, want = both(shown, COLOR)
    apart = got.astype(int) - want.astype(int)
    assert 1 <= np.abs(apart).max() <= 4
    assert np.abs(apart).mean() < 1.2
    assert want.max(axis=2).astype(int).mean() - want.min(axis=2).astype(int).mean() > 10


def test_the_matrix_and_range_of_a_video_matter():
    shown = {
        (matrix, color_range): both(
            picture("yuv420p", color=60, matrix=matrix, color_range=color_range), COLOR
        )[0].astype(int)
        for matrix in (BT_601, BT_709)
        for color_range in (LIMITED, FULL)
    }
    first = shown.pop((BT_601, LIMITED))
    assert all(np.abs(other - first).max() > 8 for other in shown.values())


def test_gray_of_bt_709_is_weighed_as_gray_of_rgb_frames_is():
    got, want = both(picture("yuv420p", color=60, matrix=BT_709, color_range=LIMITED), GRAY)
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 3
    # a model would see another gray if luma were taken as it is
    luma, _ = both(picture("yuv420p", color=60, matrix=BT_601, color_range=LIMITED), GRAY)
    assert np.abs(got.astype(int) - luma.astype(int)).max() > 6


@pytest.mark.parametrize(
    ("spec", "crop"),
    [
        (COLOR, CropRegion(11, 8, 80, 62)),
        (COLOR, CropRegion(12, 8, 81, 62)),
        (InputSpec(width_px=100, height_px=50, color="rgb", fit="stretch"), None),
    ],
)
def test_colors_that_would_be_blown_up_or_cut_are_taken_from_rgb_frames(spec, crop):
    got, want = both(picture("yuv420p", color=60), spec, crop)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, -90])
def test_planes_of_color_are_cut_and_turned_with_luma(rotation_deg):
    shown = picture("yuv420p", color=30)
    got, want = both(shown, COLOR, CropRegion(12, 8, 100, 98), rotation_deg)
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 4
    assert want.max(axis=2).astype(int).mean() - want.min(axis=2).astype(int).mean() > 10


def test_an_input_does_not_depend_on_those_of_other_models():
    shown = picture("yuv420p", color=60)
    alone = [both(shown, spec)[0] for spec in (GRAY, COLOR)]
    inputs = InputConverter(PixelConverter("rgb", 160, 120, 0), (GRAY, COLOR), None)
    outs = tuple(np.empty(shape, np.uint8) for shape in inputs.shapes)
    inputs.convert(shown, outs)
    for one, out in zip(alone, outs, strict=True):
        assert np.array_equal(one, out)


@pytest.mark.parametrize("spec", [GRAY, WIDE, COLOR])
@pytest.mark.parametrize("crop", [None, CropRegion(11, 7, 81, 63)])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, -90, 45])
def test_rotation_and_crop_are_those_of_the_upright_frame(rotation_deg, crop, spec):
    got, want = both(picture("yuv420p"), spec, crop, rotation_deg)
    assert np.array_equal(got, want)


def test_a_crop_outside_the_upright_frame_is_refused():
    crop = CropRegion(0, 0, 130, 100)  # inside the stored picture of 160 x 120 px
    with pytest.raises(InvalidFrame, match="130x100"):
        InputConverter(PixelConverter("rgb", 160, 120, 90), (GRAY,), crop)


KINDS = {
    "h264": ("a.mp4", {}),
    "mjpeg": ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    "ffv1 bgr0": ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}),
    "10 bit": ("a.mp4", {"pix_fmt": "yuv420p10le"}),
    "odd size": ("a.mkv", {"codec": "ffv1", "size": (97, 61)}),
}


@pytest.mark.parametrize("inputs", [(GRAY, WIDE), (COLOR, GRAY)])
@pytest.mark.parametrize("kind", KINDS)
async def test_workers_hand_over_inputs_of_several_bundles(tmp_path, make_video, kind, inputs):
    name, settings = KINDS[kind]
    path = make_video(tmp_path / name, frames=20, **settings)
    video = VideoFile(path)
    crop = CropRegion(3, 5, 61, 40)
    rows = 0
    async with (
        DecodeWorkers(1) as workers,
        workers.open(path, color=None, inputs=inputs, crop=crop) as reader,
    ):
        expected = video.rows()
        async for frame in reader:
            row = next(expected)
            pixels = video.view(row.picture)
            assert (frame.frame_index, frame.status) == (row.frame_index, FrameStatus.OK)
            assert frame.pixels is None
            assert (frame.width_px, frame.height_px) == pixels.shape[1::-1]
            for one, spec in zip(frame.inputs, inputs, strict=True):
                want = to_model_input(pixels, spec, crop)[0].astype(int)
                assert np.abs(one.astype(int) - want).max() <= 2  # MJPEG's middle chroma is not 128
            rows += 1
    assert rows == 20


async def test_whole_frames_come_beside_inputs(tmp_path, make_video):
    path = make_video(tmp_path / "a.mp4", frames=5)
    async with DecodeWorkers(1) as workers, workers.open(path, inputs=(COLOR,)) as reader:
        async for frame in reader:
            want = to_model_input(frame.pixels, COLOR)[0]
            assert np.array_equal(frame.inputs[0], want)


async def test_pictures_of_a_folder_give_inputs_of_their_own_size(tmp_path):
    files = []
    for number, size in enumerate([(40, 30), (20, 90)]):
        files.append(tmp_path / f"{number}.png")
        _write_png(files[-1], size, 50 + number)
    sizes = []
    async with (
        DecodeWorkers(1) as workers,
        workers.open(PictureList(tmp_path, tuple(files)), color=None, inputs=(GRAY,)) as reader,
    ):
        async for frame in reader:
            sizes.append((frame.width_px, frame.height_px))
            assert frame.inputs[0][0, 0] == 50 + frame.frame_index
    assert sizes == [(40, 30), (20, 90)]


async def test_a_worker_refuses_a_crop_outside_the_frame_and_goes_on(tmp_path, make_video):
    path = make_video(tmp_path / "a.mp4", frames=5)
    async with DecodeWorkers(1) as workers:
        with pytest.raises(InvalidFrame, match="200x10"):
            async with workers.open(
                path, color=None, inputs=(GRAY,), crop=CropRegion(0, 0, 200, 10)
            ):
                pass
        async with workers.open(path, color=None, inputs=(GRAY,)) as reader:
            assert [frame.frame_index async for frame in reader] == list(range(5))


@pytest.mark.parametrize("asked", [{"color": None}, {"color": "gray", "inputs": (GRAY,)}])
async def test_nothing_to_make_is_refused(tmp_path, make_video, asked):
    path = make_video(tmp_path / "a.mp4", frames=5)
    async with DecodeWorkers(1) as workers:
        with pytest.raises(InvalidConfig, match="ask for"):
            async with workers.open(path, **asked):
                pass


def _write_png(path: Path, size: tuple[int, int], value: int) -> None:
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), value, np.uint8))

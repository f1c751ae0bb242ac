"""The resize is the stated one, and its inverse brings points back."""

import cv2
import numpy as np
import pytest

from service.bundle import InputSpec
from service.errors import InvalidFrame
from service.preprocess import CropRegion, place, resize, to_color, to_model_input


def bilinear_reference(pixels: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """Half-pixel-centre bilinear in float64, edges repeated, rounded half to even."""
    height, width = pixels.shape[:2]
    x = np.clip((np.arange(width_px) + 0.5) * width / width_px - 0.5, 0, width - 1)
    y = np.clip((np.arange(height_px) + 0.5) * height / height_px - 0.5, 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[None, :, None], (y - y0)[:, None, None]
    image = pixels.astype(np.float64)
    top = image[y0][:, x0] * (1 - fx) + image[y0][:, x1] * fx
    bottom = image[y1][:, x0] * (1 - fx) + image[y1][:, x1] * fx
    return np.rint(top * (1 - fy) + bottom * fy).astype(np.uint8)


@pytest.mark.parametrize("size", [(31, 17), (320, 240), (256, 255), (700, 500), (640, 480)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_resize_equals_the_definition(size, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (480, 640, channels), np.uint8)
    got = resize(pixels, *size)
    want = bilinear_reference(pixels, *size)
    assert got.shape == want.shape
    difference = np.abs(got.astype(int) - want.astype(int))
    assert difference.max() <= 1
    assert (difference != 0).mean() < 1e-2  # float32 against float64, at near-halves only


@pytest.mark.parametrize("height_px", [108, 216, 250, 287, 301, 323])
def test_a_large_frame_is_resized_as_if_all_its_rows_were_looked_at(height_px):
    rng = np.random.default_rng(1)
    resize(np.full((1080, 640, 3), 255, np.uint8), 200, 299)  # leaves its rows in the scratch
    pixels = rng.integers(0, 256, (1080, 640, 3), np.uint8)
    whole = cv2.resize(pixels.astype(np.uint16), (200, height_px), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(pixels, 200, height_px), whole)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("crop", [None, CropRegion(100, 40, 301, 223)])
def test_points_come_back_from_the_model_input(fit, crop):
    spec = InputSpec(width_px=256, height_px=192, color="rgb", fit=fit)
    placement = place(640, 480, spec, crop)
    points = np.array([[100.0, 40.0], [333.25, 199.5], [400.0, 262.0]], np.float32)
    back = placement.to_frame(placement.to_model(points))
    np.testing.assert_allclose(back, points, atol=1e-3)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_bright_blob_is_found_where_the_map_says(fit):
    y, x = np.indices((480, 640))  # a blob wide enough not to alias, centre at (201.5, 301.5)
    blob = 255 * np.exp(-((x - 201.5) ** 2 + (y - 301.5) ** 2) / (2 * 9.0**2))
    pixels = np.rint(blob).astype(np.uint8)
    spec = InputSpec(width_px=320, height_px=320, color="gray", fit=fit)
    image, placement = to_model_input(pixels, spec)
    weights = image[..., 0].astype(float)
    y, x = np.indices(weights.shape)
    found = np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()
    wanted = placement.to_model(np.array([201.5, 301.5], np.float32))
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_letterbox_keeps_the_aspect_and_pads_with_black():
    spec = InputSpec(width_px=128, height_px=128, color="rgb", fit="letterbox")
    image, placement = to_model_input(np.full((50, 100, 3), 200, np.uint8), spec)
    assert image.shape == (128, 128, 3)
    assert (image[:64] == 200).all()
    assert (image[64:] == 0).all()
    assert placement.scale_x == placement.scale_y


@pytest.mark.parametrize(
    "crop",
    [
        CropRegion(0, 0, 0, 10),
        CropRegion(600, 0, 41, 10),
        CropRegion(0, 471, 10, 10),
        CropRegion(-1, 0, 5, 5),
    ],
)
def test_a_crop_outside_the_frame_is_refused_with_its_numbers(crop):
    spec = InputSpec(width_px=64, height_px=64, color="gray", fit="stretch")
    with pytest.raises(InvalidFrame, match=f"{crop.width_px}x{crop.height_px}"):
        to_model_input(np.zeros((480, 640), np.uint8), spec, crop)


def test_gray_and_rgb_turn_into_each_other():
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    rgb = to_color(gray, "rgb")
    assert rgb.shape == (6, 8, 3)
    assert (to_color(rgb, "gray")[..., 0] == gray).all()

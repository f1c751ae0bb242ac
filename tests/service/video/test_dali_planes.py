"""Inputs that DALI makes of planes are those that the host makes of them, to one gray level.

DALI runs for real on the CPU, with the nodes that it has on a GPU.
"""

from collections.abc import Callable

import av
import numpy as np
import pytest

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.engine.device import DeviceArray, DeviceCopies
from service.preprocess import CropRegion
from service.video.base import StoredFormat
from service.video.inputs import InputConverter
from service.video.pixels import PixelConverter, describe_picture
from tests.service.video.barcode import draw_barcode, read_barcode

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

from nvidia.dali import types
from nvidia.dali.tensors import TensorGPU

from service.video.dali_planes import DaliPlanes, takes_planes

WIDTH_PX, HEIGHT_PX = 160, 120
WHOLE = CropRegion(0, 0, WIDTH_PX, HEIGHT_PX)
GRAY = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")
BOXED = InputSpec(width_px=64, height_px=64, color="gray", fit="letterbox")
COLOR = InputSpec(width_px=60, height_px=44, color="rgb", fit="stretch")
COLOR_BOXED = InputSpec(width_px=50, height_px=50, color="rgb", fit="letterbox")
BT_709, UNSPECIFIED, BT_601 = 1, 2, 5
LIMITED, FULL = 1, 2


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.needs_gpu)])
def make(request: pytest.FixtureRequest, emulate_gpu) -> Callable[..., list]:
    """Makes inputs of pictures of PyAV and brings them to the host."""
    if request.param == "emulated":
        emulate_gpu()

    def make_inputs(pictures: list[av.VideoFrame], specs, region=WHOLE) -> list:
        stream = Stream()
        device = "cpu" if request.param == "emulated" else "gpu"
        planes = DaliPlanes(
            describe_picture(pictures[0]), specs, region, device=device, stream=stream
        )
        nv12 = [to_nv12(one) for one in pictures]
        if device == "gpu":
            nv12 = DeviceCopies().copy(nv12)
        return [one.on_host() for one in planes.make(nv12)]

    return make_inputs


def to_nv12(picture: av.VideoFrame) -> np.ndarray:
    luma, u, v = (np.asarray(one) for one in split(picture))
    return np.concatenate([luma, np.stack([u, v], axis=2).reshape(len(u), -1)])


def split(picture: av.VideoFrame) -> list[np.ndarray]:
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in picture.planes
    ]


def picture(
    seed: int = 7, *, pixel_format: str = "yuv420p", matrix: int = BT_601, color_range: int = 0
) -> av.VideoFrame:
    """Slopes of luma and color with noise: all values of luma, colors that RGB need not clip."""
    made = av.VideoFrame(WIDTH_PX, HEIGHT_PX, pixel_format)
    made.colorspace, made.color_range = matrix, color_range
    noise = np.random.default_rng(seed)
    for number, plane in enumerate(made.planes):
        y, x = np.indices((plane.height, plane.width))
        slope = x / plane.width if number < 2 else y / plane.height
        low, high, rough = (70, 170, 12) if number == 0 else (100, 156, 3)
        values = low + (high - low) * slope + noise.normal(0, rough, slope.shape)
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        lines[:, : plane.width] = np.rint(values).clip(0, 255)
        plane.update(lines.tobytes())
    return made


def on_host(shown: av.VideoFrame, specs, crop: CropRegion | None) -> list[np.ndarray]:
    converter = InputConverter(PixelConverter("rgb", WIDTH_PX, HEIGHT_PX, 0), specs, crop)
    outs = tuple(np.empty(shape, np.uint8) for shape in converter.shapes)
    converter.convert(shown, outs)
    return list(outs)


@pytest.mark.parametrize("region", [WHOLE, CropRegion(10, 20, 132, 96)])
@pytest.mark.parametrize("color_range", [0, LIMITED, FULL])
@pytest.mark.parametrize("matrix", [UNSPECIFIED, BT_601, BT_709])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p"])
def test_inputs_are_those_of_the_host(make, pixel_format, matrix, color_range, region):
    shown = picture(pixel_format=pixel_format, matrix=matrix, color_range=color_range)
    specs = (GRAY, BOXED, COLOR, COLOR_BOXED)
    assert takes_planes(describe_picture(shown))
    (made,) = make([shown], specs, region)
    for spec, found, expected in zip(specs, made, on_host(shown, specs, region), strict=True):
        assert found.shape == expected.shape
        apart = np.abs(found.astype(int) - expected)
        # A level of luma and one of each color make up to three of RGB.
        assert apart.max() <= (1 if spec.color == "gray" and matrix != BT_709 else 3)
        assert apart.mean() < 0.3


def test_each_picture_of_a_batch_gives_inputs_of_its_own(make):
    for count in (1, 16, 3):
        shown = [
            av.VideoFrame.from_ndarray(draw_barcode(number, WIDTH_PX, HEIGHT_PX)).reformat(
                format="yuv420p"
            )
            for number in range(count)
        ]
        made = make(shown, (GRAY, COLOR))
        seen = [(read_barcode(gray[..., 0]), read_barcode(color)) for gray, color in made]
        assert seen == [(number, number) for number in range(count)]


@pytest.mark.parametrize("matrix", [BT_601, BT_709])
@pytest.mark.parametrize(
    ("spec", "region"),
    [
        (GRAY, CropRegion(11, 21, 31, 33)),
        (COLOR, CropRegion(11, 20, 130, 96)),
        (COLOR_BOXED, CropRegion(10, 20, 131, 96)),
        (InputSpec(width_px=82, height_px=40, color="rgb", fit="stretch"), WHOLE),
        (InputSpec(width_px=200, height_px=200, color="gray", fit="stretch"), WHOLE),
    ],
)
def test_inputs_for_which_color_would_have_to_grow_are_made_of_whole_pictures(
    make, spec, region, matrix
):
    shown = picture(matrix=matrix)
    ((found,),) = make([shown], (spec,), region)
    (expected,) = on_host(shown, (spec,), region)
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= (1 if spec.color == "gray" and matrix == BT_601 else 3)


def test_dali_takes_a_picture_of_the_gpu_where_it_lies():
    picture = DeviceArray(1 << 20, (180, 160), np.dtype(np.uint8), None, None)
    taken = TensorGPU(picture, "", 0)
    assert (taken.data_ptr(), taken.shape(), taken.dtype) == (1 << 20, [180, 160], types.UINT8)


@pytest.mark.parametrize(("pixel_format", "matrix"), [("gray10le", BT_601), ("yuv420p", 8)])
def test_other_pictures_are_not_taken(pixel_format, matrix):
    like = StoredFormat(pixel_format, WIDTH_PX, HEIGHT_PX, matrix, 0, False)
    assert not takes_planes(like)

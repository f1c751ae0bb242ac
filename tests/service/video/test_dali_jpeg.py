"""JPEGs of many streams are decoded together, and a bad one costs only itself."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from service.errors import FrameTooLarge, InvalidConfig, InvalidFrame
from service.frames import EncodedFrame
from service.repository import Selection
from service.session import LiveSession
from service.session_options import SessionConfig, SessionOptions
from service.video.base import VideoLimits
from service.video.still import decode_still
from tests.service.video.barcode import draw_barcode, read_barcode

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

from service.video.dali_jpeg import DaliJpegs
from service.video.jpegs import JpegBatches, open_jpegs

DEVICES = ["cpu", pytest.param("gpu", marks=pytest.mark.needs_gpu)]


def jpeg(number: int, width_px: int = 128, height_px: int = 96, *, gray: bool = False) -> bytes:
    pixels = draw_barcode(number, width_px, height_px)
    image = pixels[..., 0] if gray else pixels[..., ::-1]
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_of_several_sizes_gives_each_its_own_pixels(device):
    decoder = DaliJpegs(device, VideoLimits())
    for count in (1, 5, 32, 2):
        sent = [jpeg(number, 96 + 8 * (number % 3), 64) for number in range(count)]
        for number, pixels in enumerate(decoder.decode(sent)):
            assert pixels.shape == (64, 96 + 8 * (number % 3), 3)
            assert read_barcode(pixels) == number
            expected = decode_still(sent[number], "jpeg")
            assert np.abs(pixels.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("device", DEVICES)
def test_a_gray_jpeg_stays_gray(device):
    color, gray = DaliJpegs(device, VideoLimits()).decode([jpeg(5), jpeg(9, gray=True)])
    assert color.shape == (96, 128, 3)
    assert gray.shape == (96, 128)
    assert read_barcode(gray) == 9


@pytest.mark.parametrize("device", DEVICES)
def test_a_bad_picture_costs_only_itself(device):
    decoder = DaliJpegs(device, VideoLimits(max_width_px=200))
    cut = jpeg(2)
    answers = decoder.decode([jpeg(1), b"no jpeg", cut[:300], jpeg(3, 256, 96), jpeg(4)])
    assert [read_barcode(answers[place]) for place in (0, 4)] == [1, 4]
    assert isinstance(answers[1], InvalidFrame)
    assert isinstance(answers[3], FrameTooLarge)
    again = decoder.decode([jpeg(7), jpeg(8)])
    assert [read_barcode(one) for one in again] == [7, 8]


@pytest.mark.parametrize("device", DEVICES)
async def test_what_waits_is_decoded_together_and_comes_to_who_asked(device, monkeypatch):
    batches = JpegBatches(DaliJpegs(device, VideoLimits()))
    sizes = []
    decode = batches._decoder.decode
    monkeypatch.setattr(
        batches._decoder, "decode", lambda data: sizes.append(len(data)) or decode(data)
    )

    async def ask(number: int) -> int:
        return read_barcode(await batches.decode(jpeg(number)))

    assert await asyncio.gather(*map(ask, range(100))) == list(range(100))
    assert max(sizes) == 32
    assert sum(sizes) == 100
    with pytest.raises(InvalidFrame):
        await batches.decode(b"\xff\xd8 nothing")
    assert await ask(77) == 77
    await batches.close()


async def test_a_live_stream_s_jpegs_are_decoded_by_dali(scheduler, pose_bundle):
    batches = open_jpegs(VideoLimits())
    threads = ThreadPoolExecutor(1)
    options = SessionOptions(selections=(Selection(pose_bundle),), frames_in_flight=8)
    session = LiveSession(
        "s", options, scheduler, SessionConfig(), threads, decode_jpeg=batches.decode
    )
    session.start()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[20:26, 40:46] = 255
    sound = cv2.imencode(".jpg", pixels)[1].tobytes()
    for index, data in enumerate([sound, sound[:90], sound]):
        await session.offer(EncodedFrame(index, 0, "jpeg", 96, 64, None, data))
    session.finish()
    outcomes = [one async for one in session.answers()]
    await session.close()
    await batches.close()
    threads.shutdown()
    assert [one.kind for one in outcomes] == ["result", "error", "result"]
    assert "frame 1: " in outcomes[1].reason
    for outcome in (outcomes[0], outcomes[2]):
        np.testing.assert_allclose(outcome.poses[0][1].keypoints_xy[0, 0], [42, 22], atol=3)


def test_dali_that_is_not_installed_cannot_be_asked_for(monkeypatch):
    monkeypatch.setattr("service.video.jpegs.is_installed", lambda name: False)
    with pytest.raises(InvalidConfig, match="uv sync --extra gpu"):
        open_jpegs(VideoLimits())

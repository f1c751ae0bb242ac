"""JPEGs of many streams are decoded together, and a bad one costs only itself."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from service.bundle import InputSpec
from service.engine import FakeEngine
from service.engine.cuda import Stream
from service.engine.device import DeviceArray, Rows
from service.errors import EthostreamError, FrameDamaged, InvalidConfig
from service.frames import EncodedFrame
from service.preprocess import CropRegion, to_model_input
from service.repository import LoadedBundle, Selection
from service.scheduler import Scheduler
from service.session import LiveSession
from service.session_options import SessionConfig, SessionOptions
from service.video.base import VideoLimits
from service.video.still import decode_still
from tests.service.conftest import OnDevice
from tests.service.video.barcode import draw_barcode, read_barcode

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")

from service.video.dali_jpeg import DaliJpegs
from service.video.jpegs import JpegBatches, JpegJob, open_jpegs

GRAY = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")
BOXED = InputSpec(width_px=70, height_px=50, color="gray", fit="letterbox")
COLOR = InputSpec(width_px=96, height_px=80, color="rgb", fit="stretch")
LIMITS = VideoLimits(max_width_px=200)


@pytest.fixture(
    params=["cpu", "emulated", pytest.param("gpu", marks=pytest.mark.needs_gpu)],
)
def open_dali(request: pytest.FixtureRequest, emulate_gpu) -> Callable[[], DaliJpegs]:
    """DALI's pictures come to the host, or stay where they are, on an emulated or a real GPU."""
    if request.param == "emulated":
        emulate_gpu()

    def open_one() -> DaliJpegs:
        device = "gpu" if request.param == "gpu" else "cpu"
        return DaliJpegs(device, LIMITS, None if request.param == "cpu" else Stream())

    return open_one


def jpeg(number: int, width_px: int = 128, height_px: int = 96, *, gray: bool = False) -> bytes:
    pixels = draw_barcode(number, width_px, height_px)
    image = pixels[..., 0] if gray else pixels[..., ::-1]
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def whole(width_px: int = 128, height_px: int = 96) -> CropRegion:
    return CropRegion(0, 0, width_px, height_px)


def job(data: bytes, *, region: CropRegion | None = None, on_device: bool = False) -> JpegJob:
    return JpegJob(data, ((GRAY, region or whole()),), on_device)


def number_in(made: tuple[np.ndarray | DeviceArray, ...] | EthostreamError) -> int | None:
    assert isinstance(made, tuple)
    (array,) = made
    pixels = array.to_host() if isinstance(array, DeviceArray) else array
    assert pixels.shape == (48, 64, 1)
    return read_barcode(pixels[..., 0])


@pytest.mark.parametrize("on_device", [False, True])
def test_each_picture_of_a_batch_gives_inputs_of_its_own(open_dali, on_device):
    decoder = open_dali()
    for count in (1, 5, 32, 2):
        sizes = [(96 + 8 * (number % 3), 64) for number in range(count)]
        sent = [jpeg(number, *size) for number, size in enumerate(sizes)]
        jobs = [
            job(data, region=whole(*size), on_device=on_device)
            for data, size in zip(sent, sizes, strict=True)
        ]
        made = decoder.make(jobs)
        stays = on_device and decoder._stream is not None
        assert {type(one[0]) for one in made} == {DeviceArray if stays else np.ndarray}
        assert [number_in(one) for one in made] == list(range(count))


def test_inputs_are_those_of_opencv_to_what_decoders_differ(open_dali):
    decoder = open_dali()
    regions = [whole(), CropRegion(3, 5, 100, 80), CropRegion(0, 0, 31, 90)]
    wanted = tuple((spec, region) for spec in (GRAY, BOXED, COLOR) for region in regions)
    for data in (jpeg(5), jpeg(9, gray=True), _colorful()):
        pixels = decode_still(data, "jpeg")
        (made,) = decoder.make([JpegJob(data, wanted)])
        for (spec, region), found in zip(wanted, made, strict=True):
            expected = to_model_input(pixels, spec, region)[0]
            assert found.shape == expected.shape
            assert np.abs(found.astype(int) - expected).max() <= 4


def test_more_inputs_than_a_batch_holds_are_made(open_dali):
    jobs = [JpegJob(jpeg(number), ((GRAY, whole()),) * 3) for number in range(32)]
    made = open_dali().make(jobs)
    assert [number_in((one[2],)) for one in made] == list(range(32))


def test_a_bad_picture_costs_only_itself(open_dali):
    decoder = open_dali()
    cut = jpeg(2)
    answers = decoder.make([job(jpeg(1)), job(b"\xff\xd8 no"), job(cut[:300]), job(jpeg(4))])
    assert [number_in(answers[place]) for place in (0, 3)] == [1, 4]
    assert isinstance(answers[1], EthostreamError)
    assert isinstance(answers[2], FrameDamaged)
    again = decoder.make([job(jpeg(7)), job(jpeg(8))])
    assert [number_in(one) for one in again] == [7, 8]


async def test_what_waits_is_decoded_together_and_comes_to_who_asked(open_dali, monkeypatch):
    batches = JpegBatches(open_dali())
    sizes = []
    make = batches._decoder.make
    monkeypatch.setattr(
        batches._decoder, "make", lambda jobs: sizes.append(len(jobs)) or make(jobs)
    )

    async def ask(number: int) -> int | None:
        return number_in(await batches.make(job(jpeg(number))))

    assert await asyncio.gather(*map(ask, range(100))) == list(range(100))
    assert max(sizes) == 32
    assert sum(sizes) == 100
    with pytest.raises(FrameDamaged):
        await batches.make(job(jpeg(3)[:300]))
    assert await ask(77) == 77
    await batches.close()


async def answers_of(
    bundle: LoadedBundle,
    scheduler: Scheduler,
    batches: JpegBatches,
    frames: list[bytes],
    **options: object,
) -> list:
    threads = ThreadPoolExecutor(1)
    options = SessionOptions(selections=(Selection(bundle),), frames_in_flight=32, **options)
    config = SessionConfig(max_width_px=200)
    session = LiveSession("s", options, scheduler, config, threads, jpegs=batches)
    session.start()
    for index, data in enumerate(frames):
        await session.offer(EncodedFrame(index, 0, "jpeg", 96, 64, None, data))
    session.finish()
    outcomes = [one async for one in session.answers()]
    await session.close()
    await batches.close()
    threads.shutdown()
    return outcomes


def _dot(x_px: int, y_px: int, width_px: int = 96) -> bytes:
    pixels = np.zeros((64, width_px, 3), np.uint8)
    pixels[y_px - 3 : y_px + 3, x_px - 3 : x_px + 3] = 255
    return cv2.imencode(".jpg", pixels)[1].tobytes()


async def test_a_live_stream_s_jpegs_are_decoded_by_dali(scheduler, pose_bundle, open_dali):
    sound, wide = _dot(42, 23), _dot(9, 9, 256)
    sent = [sound, sound[:200], b"no jpeg", wide, _dot(9, 9, 128), _dot(20, 40)]
    outcomes = await answers_of(pose_bundle, scheduler, JpegBatches(open_dali()), sent)
    assert [one.kind for one in outcomes] == ["result", *["error"] * 4, "result"]
    for index in (1, 2, 4):
        assert outcomes[index].reason.count(f"frame {index}") == 1
    assert "256x64 px, over the limit" in outcomes[3].reason
    assert "began with 96x64" in outcomes[4].reason
    for outcome, expected in ((outcomes[0], [42, 22]), (outcomes[5], [20, 40])):
        np.testing.assert_allclose(outcome.poses[0][1].keypoints_xy[0, 0], expected, atol=3)


@pytest.mark.parametrize("crop", [None, CropRegion(4, 6, 83, 52)])
async def test_a_live_stream_s_jpegs_stay_on_the_gpu(scheduler, pose_bundle, emulate_gpu, crop):
    emulate_gpu()
    engine = pose_bundle.graphs["pose"].engine = OnDevice(FakeEngine())
    batches = JpegBatches(DaliJpegs("cpu", LIMITS, Stream()))
    dots = [(10 + 4 * number, 12 + 2 * number) for number in range(18)]
    sent = [_dot(*one) for one in dots]
    outcomes = await answers_of(pose_bundle, scheduler, batches, sent, crop=crop)
    assert [one.kind for one in outcomes] == ["result"] * len(dots)
    for outcome, dot in zip(outcomes, dots, strict=True):
        np.testing.assert_allclose(outcome.poses[0][1].keypoints_xy[0, 0], dot, atol=4)
    assert engine.seen == {Rows}


def _colorful() -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def test_dali_that_is_not_installed_cannot_be_asked_for(monkeypatch):
    monkeypatch.setattr("service.video.jpegs.is_installed", lambda name: False)
    with pytest.raises(InvalidConfig, match="uv sync --extra gpu"):
        open_jpegs(VideoLimits())

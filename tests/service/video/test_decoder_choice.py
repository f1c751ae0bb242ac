"""The decoder that was asked for decodes in the worker process, and what it did is told."""

import os
import signal

import numpy as np
import pytest

from service.bundle import InputSpec
from service.config import VideoConfig
from service.errors import InvalidConfig, InvalidVideo
from service.values import FrameStatus
from service.video import DecodeWorkers
from tests.service.video.damage import damage_packet

FRAMES = 60
needs_dali = pytest.mark.skipif(
    "not __import__('service.video.ladder', fromlist=['x']).is_installed('dali')",
    reason="DALI is not installed; run `uv sync --extra dali`",
)


@pytest.fixture(scope="module")
def mjpeg(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("choice")
    return make_video(
        folder / "mjpeg.avi", frames=FRAMES, codec="mjpeg", pix_fmt="yuvj420p", size=(128, 96)
    )


@needs_dali
async def test_dali_decodes_in_a_worker(mjpeg, read_number):
    async with DecodeWorkers(1, threads=2, decoder="dali") as workers:
        for _ in range(2):
            async with workers.open(mjpeg) as reader:
                assert reader.info.decoder.startswith("dali")
                seen = [(one.frame_index, read_number(one.pixels)) async for one in reader]
            assert seen == [(frame, frame) for frame in range(FRAMES)]
            assert reader.message == ""


@needs_dali
async def test_dali_makes_the_inputs_of_models_in_a_worker(mjpeg):
    spec = InputSpec(width_px=64, height_px=64, color="gray", fit="letterbox")
    made = {}
    for decoder in ("dali", "pyav"):
        async with (
            DecodeWorkers(1, decoder=decoder) as workers,
            workers.open(mjpeg, color=None, inputs=(spec,)) as reader,
        ):
            made[decoder] = [one.inputs[0].copy() async for one in reader]
    assert len(made["dali"]) == FRAMES
    difference = np.abs(np.array(made["dali"]).astype(int) - np.array(made["pyav"]))
    assert difference.max() <= 2


@needs_dali
async def test_what_pyav_took_over_is_told_with_the_frames_that_are_damaged(
    mjpeg, tmp_path, read_number
):
    damaged = damage_packet(mjpeg, tmp_path / "damaged.avi", 30)
    async with (
        DecodeWorkers(1, decoder="dali") as workers,
        workers.open(damaged, color="gray") as reader,
    ):
        rows = [(one.frame_index, one.status) async for one in reader]
    assert [index for index, _ in rows] == list(range(FRAMES))
    assert FrameStatus.CORRUPT in {status for _, status in rows}
    assert " CORRUPT of 60 frames; frame " in reader.message
    assert "frames were decoded by PyAV: dali" in reader.message


@needs_dali
async def test_a_decoder_that_does_not_take_a_file_leaves_the_worker_to_others(
    mjpeg, tmp_path, make_video
):
    ffv1 = make_video(tmp_path / "ffv1.mkv", codec="ffv1", frames=5)
    async with DecodeWorkers(1, decoder="dali") as workers:
        with pytest.raises(InvalidVideo, match=r"dali does not decode .*ffv1.mkv: this is ffv1"):
            async with workers.open(ffv1):
                pass
        async with workers.open(mjpeg, frame_limit=1) as reader:
            assert [one.status async for one in reader] == [FrameStatus.OK]


@needs_dali
async def test_a_reader_that_leaves_early_frees_the_worker(mjpeg, read_number):
    async with DecodeWorkers(1, slots=3, decoder="dali") as workers:
        for _ in range(3):
            async with workers.open(mjpeg) as reader:
                process_ids = workers.process_ids
                async for frame in reader:
                    if frame.frame_index == 20:
                        break
        async with workers.open(mjpeg, first_frame=50) as reader:
            seen = [(one.frame_index, read_number(one.pixels)) async for one in reader]
        assert seen == [(frame, frame) for frame in range(50, FRAMES)]
        assert workers.process_ids == process_ids


@needs_dali
@pytest.mark.parametrize(("first", "limit"), [(0, None), (5, 40)])
async def test_pyav_reads_the_rest_where_the_worker_dies(
    tmp_path, make_video, read_number, first, limit
):
    path = make_video(
        tmp_path / "long.avi", frames=400, codec="mjpeg", pix_fmt="yuvj420p", size=(128, 96)
    )
    seen = []
    async with (
        DecodeWorkers(1, slots=4, decoder="dali") as workers,
        workers.open(path, first_frame=first, frame_limit=limit) as reader,
    ):
        (process_id,) = workers.process_ids
        async for frame in reader:
            seen.append((frame.frame_index, read_number(frame.pixels)))
            if len(seen) == 20:
                os.kill(process_id, signal.SIGKILL)
        assert process_id not in workers.process_ids
    end = 400 if limit is None else first + limit
    assert seen == [(index, index) for index in range(first, end)]
    assert "signal 9; frames from " in reader.message
    assert "were decoded by PyAV" in reader.message


def test_an_unknown_decoder_is_refused_in_the_settings():
    with pytest.raises(InvalidConfig, match="give one of auto, dali, nvcodec, pyav"):
        VideoConfig(decoder="cuda")

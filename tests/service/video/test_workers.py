import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from service import errors
from service.errors import (
    DecoderFailed,
    EthostreamError,
    InvalidConfig,
    InvalidVideo,
    ShuttingDown,
    VideoNotFound,
)
from service.values import FrameStatus
from service.video import DecodeWorkers, VideoLimits, open_video

# Longer than the slots of a ring, so that a worker is still at work when its reader stops.
LONG = 400


@pytest.fixture(scope="module")
def long_video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("long") / "long.mp4", frames=LONG)


@pytest.fixture(scope="module")
def short_video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("short") / "short.mp4", frames=30)


async def read_numbers(reader, read_number):
    return [(frame.frame_index, read_number(frame.pixels)) async for frame in reader]


async def read_and(workers, path, frame_index, action):
    """Read a video and do something at a frame."""
    async with workers.open(path) as reader:
        async for frame in reader:
            if frame.frame_index == frame_index:
                action()


async def wait_until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.01)


async def test_a_name_that_is_not_utf_8_is_told(short_video, tmp_path):
    odd = tmp_path / os.fsdecode(b"M\xe4use.mp4")
    odd.symlink_to(short_video)
    async with DecodeWorkers(1) as workers:
        with pytest.raises(InvalidVideo, match="is not UTF-8"):
            async with workers.open(odd):
                pass
        async with workers.open(short_video) as reader:  # and the next one is read
            assert reader.info.claimed_frames == 30


async def test_frames_come_in_order_under_their_own_index(short_video, read_number):
    async with DecodeWorkers(1) as workers, workers.open(short_video) as reader:
        assert (reader.info.width_px, reader.info.height_px) == (96, 64)
        assert reader.info.claimed_frames == 30
        assert reader.info.codec == "h264"
        assert await read_numbers(reader, read_number) == [(n, n) for n in range(30)]
        assert reader.message == ""
        assert reader.faults == ()


async def test_more_frames_than_slots_pass_through_the_ring(long_video, read_number):
    async with DecodeWorkers(1, slots=3) as workers, workers.open(long_video) as reader:
        assert await read_numbers(reader, read_number) == [(n, n) for n in range(LONG)]


async def test_a_part_is_read_in_gray(long_video, read_number):
    async with (
        DecodeWorkers(1) as workers,
        workers.open(long_video, color="gray", first_frame=301, frame_limit=4) as reader,
    ):
        assert await read_numbers(reader, read_number) == [(n, n) for n in range(301, 305)]


async def test_a_video_can_be_opened_without_a_pool(short_video, read_number):
    async with open_video(short_video, frame_limit=2) as reader:
        assert await read_numbers(reader, read_number) == [(0, 0), (1, 1)]


async def test_a_file_that_cannot_be_reached_ends_no_worker(short_video, tmp_path, read_number):
    async with DecodeWorkers(1) as workers:
        async with workers.open(short_video) as reader:
            await read_numbers(reader, read_number)
        process_ids = workers.process_ids
        with pytest.raises(InvalidVideo, match="File name too long"):
            async with workers.open(tmp_path / ("a" * 300 + ".mp4")):
                pass
        with pytest.raises(VideoNotFound):
            async with workers.open(short_video / "a.mp4"):
                pass
        async with workers.open(short_video) as reader:
            assert await read_numbers(reader, read_number) == [(n, n) for n in range(30)]
        assert workers.process_ids == process_ids


@pytest.mark.parametrize(
    ("matrix", "name"), [("YCgCo", "YCgCo"), ("bt2020c", "constant luminance"), ("ICtCp", "ICtCp")]
)
@pytest.mark.parametrize("color", ["rgb", "gray"])
async def test_a_color_matrix_that_is_not_converted_is_named(
    short_video, make_video, tmp_path, read_number, matrix, name, color
):
    path = make_video(
        tmp_path / "a.mp4", frames=3, options={"x264-params": f"colormatrix={matrix}"}
    )
    async with DecodeWorkers(1) as workers:
        with pytest.raises(InvalidVideo, match=f"color matrix .*{name}"):
            async with workers.open(path, color=color) as reader:
                await read_numbers(reader, read_number)
        process_ids = workers.process_ids
        async with workers.open(short_video, color=color) as reader:
            assert await read_numbers(reader, read_number) == [(n, n) for n in range(30)]
        assert workers.process_ids == process_ids


async def test_two_videos_are_read_at_once(long_video, short_video, read_number):
    async with (
        DecodeWorkers(2) as workers,
        workers.open(long_video) as one,
        workers.open(short_video) as other,
    ):
        assert len(workers.process_ids) == 2
        rows = await asyncio.gather(
            read_numbers(one, read_number), read_numbers(other, read_number)
        )
    assert rows == [[(n, n) for n in range(LONG)], [(n, n) for n in range(30)]]


async def test_videos_over_the_count_wait_in_order_and_share_the_process(short_video):
    opened = []

    async def read(workers, place):
        async with workers.open(short_video) as reader:
            opened.append(place)
            return [frame.frame_index async for frame in reader]

    async with DecodeWorkers(1) as workers:
        async with workers.open(short_video):
            (process_id,) = workers.process_ids
            waiting = [asyncio.create_task(read(workers, place)) for place in range(4)]
            await asyncio.sleep(0.05)
            assert opened == []
        assert await asyncio.gather(*waiting) == [list(range(30))] * 4
        assert opened == [0, 1, 2, 3]
        assert workers.process_ids == (process_id,)


async def test_a_killed_worker_fails_its_own_video_only(long_video, short_video, read_number):
    async with DecodeWorkers(2) as workers, workers.open(short_video) as other:
        (survivor,) = workers.process_ids
        with pytest.raises(DecoderFailed, match=r"ended by signal 9 .*long\.mp4"):
            await read_and(
                workers,
                long_video,
                20,
                lambda: os.kill((set(workers.process_ids) - {survivor}).pop(), signal.SIGKILL),
            )
        assert workers.process_ids == (survivor,)
        assert await read_numbers(other, read_number) == [(n, n) for n in range(30)]
        async with workers.open(long_video) as again:
            assert len(await read_numbers(again, read_number)) == LONG


async def test_a_worker_that_died_while_idle_is_replaced(short_video, is_alive):
    async with DecodeWorkers(1) as workers:
        workers.start()
        (first,) = workers.process_ids
        os.kill(first, signal.SIGKILL)
        with suppress(ChildProcessError):  # the pool has seen the end already
            await asyncio.to_thread(os.waitid, os.P_PID, first, os.WEXITED | os.WNOWAIT)
        async with workers.open(short_video) as reader:
            assert len([frame async for frame in reader]) == 30
            assert workers.process_ids != (first,)
    assert not is_alive(first)


async def test_a_worker_that_hangs_is_ended(long_video, is_alive):
    async with DecodeWorkers(1, stall_timeout_s=3.0) as workers:
        workers.start()
        (process_id,) = workers.process_ids
        with pytest.raises(DecoderFailed, match="no sign of life for 3 s"):
            await read_and(workers, long_video, 20, lambda: os.kill(process_id, signal.SIGSTOP))
        assert not is_alive(process_id)


async def test_a_slow_reader_is_no_hanging_worker(long_video):
    async with (
        DecodeWorkers(1, slots=3, stall_timeout_s=60.0) as workers,
        workers.open(long_video) as reader,
    ):
        (worker,) = workers._busy
        count = 0
        async for frame in reader:
            if frame.frame_index == 10:  # not before: a process takes its time to begin
                worker._stall_timeout_s = 3.0
                await asyncio.sleep(3.5)
            if frame.frame_index == 20:
                worker._stall_timeout_s = 60.0
            count += 1
        assert count == LONG


async def test_a_reader_that_leaves_early_frees_the_worker(long_video, short_video, read_number):
    async with DecodeWorkers(1, slots=3) as workers:
        async with workers.open(long_video) as reader:
            (process_id,) = workers.process_ids
            async for frame in reader:
                if frame.frame_index == 5:
                    break
        async with asyncio.timeout(60), workers.open(short_video) as reader:
            assert await read_numbers(reader, read_number) == [(n, n) for n in range(30)]
        assert workers.process_ids == (process_id,)


async def test_a_video_that_is_left_unread_leaves_no_memory_for_the_next_one(
    short_video, read_number
):
    async with DecodeWorkers(1) as workers:
        for wait_ms in (0, 0, 2, 5, 10, 20):
            async with workers.open(short_video):
                await asyncio.sleep(wait_ms / 1000)  # the worker asks for its memory meanwhile
            async with workers.open(short_video, first_frame=1) as reader:
                assert await read_numbers(reader, read_number) == [(n, n) for n in range(1, 30)]


async def test_an_error_of_the_consumer_passes_and_frees_the_worker(long_video, short_video):
    async with DecodeWorkers(1) as workers:
        with pytest.raises(ZeroDivisionError):
            await read_and(workers, long_video, 20, lambda: 1 // 0)
        async with workers.open(short_video) as reader:
            assert len([frame async for frame in reader]) == 30


async def test_a_cancelled_reader_frees_the_worker(long_video, short_video):
    async def read(workers):
        async with workers.open(long_video) as reader:
            async for _ in reader:
                await asyncio.sleep(0.01)

    async with DecodeWorkers(1) as workers:
        for delay_s in (0.0, 0.02, 0.3):
            task = asyncio.create_task(read(workers))
            await asyncio.sleep(delay_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with workers.open(short_video) as reader:
            assert len([frame async for frame in reader]) == 30


async def test_a_reader_that_is_cancelled_while_it_leaves_confuses_no_other(
    long_video, short_video
):
    async with DecodeWorkers(1) as workers:
        for waits in range(4):  # for the worker's answer to the first cancellation
            reads = asyncio.Event()
            task = asyncio.create_task(read_and(workers, long_video, 5, reads.set))
            await reads.wait()
            task.cancel()
            for _ in range(waits):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with workers.open(short_video) as reader:
                assert len([frame async for frame in reader]) == 30


async def test_a_bad_file_costs_nothing_but_its_own_error(tmp_path, short_video):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(2).bytes(9000))
    async with DecodeWorkers(1) as workers:
        for _ in range(2):
            with pytest.raises(InvalidVideo, match=r"noise\.mp4 cannot be opened"):
                async with workers.open(tmp_path / "noise.mp4"):
                    pass
        with pytest.raises(errors.VideoNotFound):
            async with workers.open(tmp_path / "none.mp4"):
                pass
        with pytest.raises(errors.FrameTooLarge, match="96x64 px"):
            async with workers.open(short_video, limits=VideoLimits(64, 64)):
                pass
        async with workers.open(short_video) as reader:
            assert len([frame async for frame in reader]) == 30
        assert len(workers.process_ids) == 1


async def test_damaged_rows_have_a_reason_and_no_pixels(tmp_path, make_video):
    path = make_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=20)
    path.write_bytes(path.read_bytes()[:-3000])
    async with DecodeWorkers(1) as workers, workers.open(path) as reader:
        rows = [(frame.status, frame.pixels is None) async for frame in reader]
    assert len(rows) == 20
    assert rows[-1] == (FrameStatus.MISSING, True)
    assert all(status.has_pixels is not lacks for status, lacks in rows)
    assert len(reader.faults) == sum(lacks for _, lacks in rows)
    assert "MISSING, 1 CORRUPT of 20 frames; frame 10 cannot be decoded" in reader.message
    assert all(fault.reason for fault in reader.faults)


async def test_pixels_outlive_the_reader_without_a_complaint(short_video):
    async with DecodeWorkers(1) as workers, workers.open(short_video) as reader:
        last = [frame async for frame in reader][-1]
    assert last.pixels.shape == (64, 96, 3)
    assert int(last.pixels.max()) > 100


async def test_impossible_settings_are_refused(short_video):
    with pytest.raises(InvalidConfig, match="count=0"):
        DecodeWorkers(0)
    async with DecodeWorkers(1) as workers:
        with pytest.raises(InvalidConfig, match="first_frame=-1"):
            async with workers.open(short_video, first_frame=-1):
                pass


async def test_a_closed_pool_ends_its_processes_and_opens_nothing(short_video, is_alive):
    workers = DecodeWorkers(2)
    workers.start(2)
    process_ids = workers.process_ids
    assert len(process_ids) == 2
    await workers.close()
    assert not any(is_alive(one) for one in process_ids)
    with pytest.raises(ShuttingDown):
        async with workers.open(short_video):
            pass


async def test_closing_the_pool_fails_the_videos_that_are_open(long_video):
    workers = DecodeWorkers(1)
    closing = []
    with pytest.raises(DecoderFailed):
        await read_and(
            workers, long_video, 3, lambda: closing.append(asyncio.create_task(workers.close()))
        )
    await closing[0]
    assert workers.process_ids == ()


async def test_workers_ignore_ctrl_c(long_video):
    async with DecodeWorkers(1) as workers, workers.open(long_video) as reader:
        count = 0
        async for frame in reader:
            if frame.frame_index == 3:
                os.kill(workers.process_ids[0], signal.SIGINT)
            count += 1
        assert count == LONG


async def test_a_worker_ends_when_its_server_is_gone(long_video, tmp_path, is_alive):
    script = tmp_path / "server.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from service.video import DecodeWorkers\n"
        "async def main():\n"
        "    workers = DecodeWorkers(1, slots=3)\n"
        "    async with workers.open(Path(sys.argv[1])) as reader:\n"
        "        async for frame in reader:\n"
        "            print(workers.process_ids[0], flush=True)\n"
        "            await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(long_video),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    process_id = int(await server.stdout.readline())
    assert is_alive(process_id)
    server.kill()
    await server.wait()
    await wait_until(lambda: not is_alive(process_id) or _is_zombie(process_id))


def _is_zombie(process_id):
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_reading_leaves_no_file_descriptor_behind(short_video):
    async with DecodeWorkers(1) as workers:
        before = 0
        for place in range(6):
            async with workers.open(short_video) as reader:
                async for frame in reader:
                    if frame.frame_index == place:
                        break
            if place == 1:
                before = count_descriptors()
        assert count_descriptors() <= before + 1


@pytest.mark.real_data
async def test_files_of_others_end_in_frames_or_a_clear_error(shared_data: Path):
    async with DecodeWorkers(2) as workers:

        async def read(path):
            async with asyncio.timeout(60):
                try:
                    async with workers.open(path, frame_limit=100) as reader:
                        return len([frame.frame_index async for frame in reader])
                except EthostreamError as error:
                    return error

        folder = shared_data / "decode-vectors"
        lines = (folder / "manifest.csv").read_text().splitlines()[1:]
        paths = [folder / line.split(",")[0] for line in lines]
        results = await asyncio.gather(*(read(path) for path in paths))
        refused = {
            path.name
            for path, result in zip(paths, results, strict=True)
            if isinstance(result, EthostreamError)
        }
        assert refused == {
            "androidx_invalid-bitstream.webm",
            "androidx_sample_audio_only.mp4",
            "empty.mp4",
            "random_bytes.mp4",
            "truncated_no_moov.mp4",
        }
        assert len(workers.process_ids) == 2

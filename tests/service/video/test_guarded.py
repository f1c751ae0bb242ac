"""A fast decoder is believed only as far as PyAV's index and first pictures agree with it."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from service.errors import DecoderFailed
from service.values import FrameStatus
from service.video.guarded import GuardedFile
from service.video.pyav import VideoFile
from service.video.stretches import plan_stretches

FRAMES = 60


class FlakyDecoder:
    """PyAV as the fast decoder, with faults that decoders of GPUs have.

    `faults` maps a frame to what happens there: fail, swap (the next frame's picture), drop (the
    frame is left out), late (a wrong time), stale (the picture before) or small.
    """

    decoder = "flaky 1"

    def __init__(self, path: Path, stretches, faults: dict[int, str]) -> None:
        self._path, self._stretches, self._faults = path, stretches, faults
        self.restarts: list[int] = []

    def restart(self, number: int) -> None:
        self.restarts.append(number)
        if self._faults.get(-1) == "no begin":
            raise DecoderFailed("could not begin")

    def pictures(self, number: int) -> Iterator[tuple[int, np.ndarray]]:
        stretch = self._stretches[number]
        rows = list(read(VideoFile(self._path), stretch.first, len(stretch)))
        for place, (frame, time_ns, pixels) in enumerate(rows):
            match self._faults.get(frame):
                case "fail":
                    raise DecoderFailed("failed")
                case "drop":
                    continue
                case "swap":
                    yield time_ns, rows[place + 1][2]
                case "stale":
                    yield time_ns, rows[place - 1][2]
                case "late":
                    yield time_ns + 10_000_000, pixels
                case "small":
                    yield time_ns, pixels[:-2]
                case _:
                    yield time_ns, pixels

    def close(self) -> None:
        pass


def read(video, first: int = 0, limit: int | None = None) -> list[tuple[int, int, np.ndarray]]:
    """(index, time, pixels) of each row, all of which must have pixels."""
    seen = []
    for row in video.rows(first, limit):
        if row.picture is None:
            raise DecoderFailed(row.reason)
        pixels = np.empty(video.shape, np.uint8)
        video.convert(row.picture, pixels)
        seen.append((row.frame_index, row.pts_ns, pixels))
    return seen


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video) -> Path:
    """60 frames in closed groups of 12."""
    folder = tmp_path_factory.mktemp("guarded")
    return make_video(
        folder / "closed.mp4", frames=FRAMES, options={"bf": "2", "g": "12", "sc_threshold": "0"}
    )


@pytest.fixture
def open_guarded(video):
    def create(faults: dict[int, str], *, is_required: bool = False):
        truth = VideoFile(video)
        stretches = plan_stretches(truth.index, 12)
        source = FlakyDecoder(video, stretches, faults)
        return GuardedFile(truth, source, stretches, is_required=is_required), source

    return create


def check(guarded: GuardedFile, read_number, first: int = 0, limit: int | None = None) -> None:
    rows = read(guarded, first, limit)
    expected = range(first, min(FRAMES, first + (limit or FRAMES)))
    assert [frame for frame, _, _ in rows] == list(expected)
    assert [read_number(pixels) for _, _, pixels in rows] == list(expected)
    assert [time_ns for _, time_ns, _ in rows] == [round(frame * 1e9 / 30) for frame in expected]


def test_a_decoder_without_faults_decodes_everything(open_guarded, read_number):
    guarded, source = open_guarded({})
    check(guarded, read_number)
    assert (guarded.taken_over, guarded.note, source.restarts) == (0, "", [0])
    assert guarded.info.decoder == "flaky 1"


@pytest.mark.parametrize("fault", ["fail", "drop", "late", "small"])
def test_pyav_takes_over_to_the_next_key_frame_and_the_decoder_goes_on_there(
    open_guarded, read_number, fault
):
    guarded, source = open_guarded({28: fault})
    check(guarded, read_number)
    assert guarded.taken_over == 36 - 28
    assert source.restarts == [0, 3]
    assert "flaky 1" in guarded.note
    assert "frames 24 to 35" in guarded.note


@pytest.mark.parametrize(("fault", "frame"), [("swap", 5), ("stale", 7), ("swap", 0)])
def test_a_picture_of_another_frame_is_found_where_the_decoder_begins(
    open_guarded, read_number, fault, frame
):
    guarded, _ = open_guarded({frame: fault})
    check(guarded, read_number)
    assert guarded.taken_over == 12 - frame
    assert f"shows frame {frame} otherwise than PyAV" in guarded.note
    guarded, _ = open_guarded({24 + frame: fault})
    check(guarded, read_number, 24)
    assert guarded.taken_over == 12 - frame
    frame += 24
    assert f"shows frame {frame} otherwise than PyAV" in guarded.note


def test_a_decoder_that_jumps_to_a_wrong_place_is_found_at_the_key_frame(open_guarded, read_number):
    guarded, source = open_guarded({36: "swap"})
    check(guarded, read_number)
    assert guarded.taken_over == 12
    assert source.restarts == [0, 4]
    assert "shows frame 36 otherwise than PyAV" in guarded.note


def test_a_decoder_that_fails_again_and_again_is_left(open_guarded, read_number):
    guarded, source = open_guarded(dict.fromkeys(range(0, FRAMES, 12), "fail"))
    check(guarded, read_number)
    assert guarded.taken_over == FRAMES
    assert source.restarts == [0, 1, 2]


def test_a_decoder_that_cannot_begin_leaves_the_file_to_pyav(open_guarded, read_number):
    guarded, _ = open_guarded({-1: "no begin"})
    check(guarded, read_number)
    assert guarded.taken_over == FRAMES


def test_a_decoder_that_was_asked_for_and_cannot_begin_is_an_error(open_guarded):
    guarded, _ = open_guarded({-1: "no begin"}, is_required=True)
    with pytest.raises(DecoderFailed, match="flaky 1 could not begin; ask for another decoder"):
        read(guarded)


def test_a_decoder_that_was_asked_for_may_fail_later(open_guarded, read_number):
    guarded, _ = open_guarded({0: "fail", 30: "fail"}, is_required=True)
    check(guarded, read_number)
    assert guarded.taken_over == 12 + 6


@pytest.mark.parametrize(("first", "limit"), [(0, 5), (17, None), (17, 9), (36, 12), (59, 1)])
def test_a_part_of_the_file_comes_under_its_own_numbers(open_guarded, read_number, first, limit):
    guarded, _ = open_guarded({20: "drop"})
    check(guarded, read_number, first, limit)


def test_nothing_is_decoded_beyond_the_end(open_guarded):
    guarded, source = open_guarded({})
    assert list(guarded.rows(FRAMES)) == []
    assert source.restarts == []


def test_damage_stays_a_row_with_a_reason(tmp_path, make_video):
    """The decoder fails on a damaged packet, and PyAV says of each frame what it is."""
    whole = make_video(
        tmp_path / "whole.mkv", frames=FRAMES, options={"bf": "0", "g": "12", "sc_threshold": "0"}
    )
    damaged = tmp_path / "damaged.mkv"
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][26]
    data[place + 40 : place + 60] = bytes(20)
    damaged.write_bytes(data)
    truth = VideoFile(damaged)
    statuses = [row.status for row in truth.rows()]
    assert FrameStatus.CORRUPT in statuses

    stretches = plan_stretches(truth.index, 12)
    source = FlakyDecoder(damaged, stretches, {})
    guarded = GuardedFile(truth, source, stretches, is_required=False)
    rows = list(guarded.rows())
    assert [row.frame_index for row in rows] == list(range(FRAMES))
    assert [row.status for row in rows] == statuses
    assert all(row.reason for row in rows if row.status is FrameStatus.CORRUPT)

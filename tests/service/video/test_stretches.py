"""Files are cut only where nothing refers across, and only if packets tell the frames."""

from pathlib import Path

import av
import numpy as np
import pytest

from service.video.packets import DISCARD, EMPTY, HIDDEN, KEY, NO_TIME, PacketIndex
from service.video.pyav import VideoFile
from service.video.stretches import plan_stretches, refuse_index


def _index(pts: list[int], keys: list[int], *, flags: dict[int, int] | None = None) -> PacketIndex:
    bits = np.zeros(len(pts), np.uint16)
    bits[keys] = KEY
    for place, flag in (flags or {}).items():
        bits[place] |= flag
    times = np.array(pts, np.int64)
    return PacketIndex(times, bits, np.argsort(times, kind="stable"), True, 0)


def _ranges(index: PacketIndex, least: int) -> list[tuple[int, int]]:
    return [(one.first, one.end) for one in plan_stretches(index, least)]


def test_a_stretch_begins_at_each_key_frame_that_closes_what_was_before():
    assert _ranges(_index([0, 2, 1, 3, 5, 4, 6, 7], [0, 3, 6]), 1) == [(0, 3), (3, 6), (6, 8)]


def test_a_key_frame_is_no_begin_where_frames_stored_after_it_are_shown_before_it():
    assert _ranges(_index([0, 2, 1, 5, 3, 4, 6, 7], [0, 3, 6]), 1) == [(0, 6), (6, 8)]


def test_stretches_have_the_least_number_of_frames_but_for_the_last():
    index = _index(list(range(100)), list(range(0, 100, 10)))
    assert _ranges(index, 35) == [(0, 40), (40, 80), (80, 100)]


def test_a_long_file_has_no_more_stretches_than_can_be_opened_quickly():
    index = _index(list(range(60_000)), list(range(60_000)))
    stretches = plan_stretches(index, 32, 256)
    assert len(stretches) <= 257
    assert sum(map(len, stretches)) == 60_000


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (_index([0, 1, 1, 2], [0]), "same time"),
        (_index([0, 1, 2], [0], flags={1: EMPTY}), "empty"),
        (_index([0, 1, 2], [0], flags={1: DISCARD}), "edit list"),
        (_index([0, 1, 2], [0], flags={1: HIDDEN}), "not shown"),
        (_index([0, 1, 2], [1]), "key frame"),
        (_index([1, 0, 2], [0]), "key frame"),
    ],
)
def test_files_whose_packets_do_not_tell_the_frames_are_refused(index, reason):
    assert reason in refuse_index(index)


def test_a_file_without_times_is_refused():
    times = np.full(3, NO_TIME)
    index = PacketIndex(times, np.full(3, KEY, np.uint16), np.arange(3), False, 0)
    assert "no times" in refuse_index(index)


def test_the_groups_of_an_encoder_are_the_stretches(make_video, open_group_options, tmp_path: Path):
    closed = make_video(tmp_path / "closed.mp4", frames=50, options={"bf": "2", "g": "10"})
    with av.open(str(closed)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    index = VideoFile(closed).index
    assert refuse_index(index) == ""
    assert [one.first for one in plan_stretches(index, 1)] == np.flatnonzero(keys).tolist()

    opened = VideoFile(make_video(tmp_path / "open.mp4", frames=90, options=open_group_options))
    keys = np.flatnonzero(opened.index.flags & KEY)
    assert len(plan_stretches(opened.index, 1)) < len(keys)

"""Key frames that decoders can begin at are told from those that later frames look back beyond."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.video.packets import KEY, REFRESH, RESET
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import Clip
from tests.service.video.reading import see


def kinds(path: Path) -> tuple[int, int]:
    """Key frames of a file, and those that are resets."""
    flags = VideoFile(path).index.flags
    assert not np.any((flags & RESET > 0) & (flags & KEY == 0))
    return int(np.count_nonzero(flags & KEY)), int(np.count_nonzero(flags & RESET))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264"])
def test_each_group_of_h264_begins_anew_however_its_units_are_cut(
    make_video: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    keys, resets = kinds(make_video(tmp_path / f"a{suffix}", frames=40, options={"g": "10"}))
    assert keys == resets == 4


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_the_groups_of_an_open_encoder_do_not(
    make_video: Callable[..., Path],
    open_group_options: dict[str, str],
    tmp_path: Path,
    suffix: str,
) -> None:
    path = make_video(tmp_path / f"a{suffix}", frames=60, options=open_group_options)
    keys, resets = kinds(path)
    assert (keys, resets) == (5, 1)


REFRESHED = {"g": "12", "bf": "0", "x264-params": "intra-refresh=1:scenecut=0"}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264"])
def test_a_refreshed_picture_is_no_begin(
    make_video: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    path = make_video(tmp_path / f"a{suffix}", frames=60, options=REFRESHED)
    keys, resets = kinds(path)
    assert resets == 1
    flags = VideoFile(path).index.flags
    assert np.count_nonzero(flags & REFRESH) == keys - resets
    if suffix != ".h264":  # there, FFmpeg takes the first picture of a refresh for no key frame
        assert keys == 5


def test_the_open_groups_of_an_encoder_are_not_refreshed(
    make_video: Callable[..., Path], open_group_options: dict[str, str], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mkv", frames=60, options=open_group_options)
    assert not np.any(VideoFile(path).index.flags & REFRESH)


def test_a_part_of_a_refreshed_recording_has_the_frames_of_the_whole(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mkv", frames=130, options=REFRESHED)
    whole = see(VideoFile(path))
    assert [one.number for one in whole] == list(range(130))
    for first in (37, *range(60, 64), *range(108, 112), 125):
        assert see(VideoFile(path), first, 2) == whole[first : first + 2]


@pytest.mark.parametrize("name", ["hevc in mkv", "mpeg4 in avi", "vp9", "mjpeg"])
def test_key_frames_of_other_codecs_are_resets(
    clip_path: Callable[[Clip], Path], name: str
) -> None:
    keys, resets = kinds(clip_path(find_clip(name)))
    assert keys >= resets >= 1
    if not name.startswith("hevc"):
        assert keys == resets

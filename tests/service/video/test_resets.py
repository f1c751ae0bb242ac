"""Key frames that decoders can begin at are told from those that later frames look back beyond."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.video.packets import KEY, RESET
from service.video.pyav import VideoFile
from tests.service.video.clips import find_clip
from tests.service.video.corpus import Clip


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


def test_a_refreshed_picture_is_no_begin(make_video: Callable[..., Path], tmp_path: Path) -> None:
    options = {"g": "20", "x264-params": "intra-refresh=1"}
    keys, resets = kinds(make_video(tmp_path / "a.ts", frames=60, options=options))
    assert resets == 1
    assert keys >= 1


@pytest.mark.parametrize("name", ["hevc in mkv", "mpeg4 in avi", "vp9", "mjpeg"])
def test_key_frames_of_other_codecs_are_resets(
    clip_path: Callable[[Clip], Path], name: str
) -> None:
    keys, resets = kinds(clip_path(find_clip(name)))
    assert keys >= resets >= 1
    if not name.startswith("hevc"):
        assert keys == resets

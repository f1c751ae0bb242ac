"""A key frame can be decoded on its own, from anywhere in a file."""

from contextlib import closing

import numpy as np
import pytest

from service.video.packets import KEY
from service.video.pyav import VideoFile

GROUPS = {"bf": "2", "g": "10", "sc_threshold": "0"}
VIDEOS = {
    "h264.mp4": {"options": GROUPS},
    "h264.ts": {"options": GROUPS},
    "hevc.mkv": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=10:min-keyint=10:log-level=none"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "10", "deadline": "realtime"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", VIDEOS)
def test_each_key_frame_shows_its_own_number(tmp_path, make_video, read_number, name):
    file = VideoFile(make_video(tmp_path / name, size=(128, 96), **VIDEOS[name]))
    ranks, pixels = file.index.ranks, np.empty(file.shape, np.uint8)
    positions = np.flatnonzero(file.index.flags & KEY).tolist()
    assert len(positions) >= 4
    with closing(file.open_keys()) as keys:
        for position in [*positions, *reversed(positions)]:
            picture = keys.picture(file.index.pts.item(position))
            if picture is None:
                assert name.endswith(".ts"), "only a stream without an index cannot be sought in"
                continue
            file.convert(picture, pixels)
            assert read_number(pixels) == ranks[position]


def test_what_is_no_key_frame_gives_none_or_nothing_that_is_whole(tmp_path, make_video):
    file = VideoFile(make_video(tmp_path / "h264.mp4", size=(128, 96), options=GROUPS))
    with closing(file.open_keys()) as keys:
        assert keys.picture(file.index.pts.item(5)) is None
        assert keys.picture(int(file.index.pts.max()) + 7) is None
        assert keys.picture(0) is not None

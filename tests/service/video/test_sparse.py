"""Frames beyond 2 and 4 GiB of a file come under their own index."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.values import FrameStatus
from tests.service.video.reading import DECODERS, Decoder
from tests.service.video.sparse import TICK_S, write_sparse

H264 = {"codec": "libx264", "pix_fmt": "yuv420p", "options": {"bf": "2", "g": "10"}}
MJPEG = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "options": {}}
# Matroska has to be read through, sound and all, so that 2 GiB must do.
CONTAINERS = {"mov": (H264, 70), "avi": (MJPEG, 70), "mkv": (H264, 35)}


@pytest.fixture(scope="module")
def sparse_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("sparse")

    def make(container: str) -> Path:
        path = folder / f"large.{container}"
        if not path.exists():
            settings: dict[str, Any]
            settings, frames = CONTAINERS[container]
            write_sparse(path, frames, **settings)
        return path

    return make


@pytest.mark.full
@pytest.mark.parametrize("decoder", DECODERS, ids=str)
@pytest.mark.parametrize("container", CONTAINERS)
async def test_frames_beyond_2_and_4_gib_keep_their_index(
    sparse_file: Callable[[str], Path], container: str, decoder: Decoder
) -> None:
    path, frames = sparse_file(container), CONTAINERS[container][1]
    assert path.stat().st_size > frames * 2**26
    assert path.stat().st_blocks * 512 < 2**26  # on disk
    whole, part = await decoder.read(path, [(0, None), (frames - 3, None)])
    assert [(one.frame_index, one.status, one.number) for one in whole] == [
        (n, FrameStatus.OK, n) for n in range(frames)
    ]
    assert part == whole[-3:]
    assert [one.pts_ns for one in whole] == pytest.approx(
        [float(n * TICK_S * 10**9) for n in range(frames)], rel=0, abs=1e6
    )

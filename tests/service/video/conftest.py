"""Videos whose frames show their own number, so that no index can be wrong unseen."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.video.barcode import read_barcode
from tests.service.video.corpus import Clip, write_clip, write_video


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """The function `write_video`."""
    return write_video


@pytest.fixture(scope="session")
def read_number() -> Callable[[NDArray[np.uint8]], int | None]:
    """The function `read_barcode`."""
    return read_barcode


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Clip], Path]:
    """The file of a clip of the corpus, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("corpus")
    made: dict[str, Path] = {}

    def path(clip: Clip) -> Path:
        if clip.name not in made:
            made[clip.name] = write_clip(clip, folder)
        return made[clip.name]

    return path


@pytest.fixture(scope="session")
def open_group_options() -> dict[str, str]:
    """x264: three B-frames in a pyramid, a key frame every 12."""
    return {"bf": "3", "g": "12", "x264-params": "b-pyramid=normal:open-gop=1:scenecut=0"}


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    """Whether a process runs."""

    def check(process_id: int) -> bool:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return False
        return True

    return check

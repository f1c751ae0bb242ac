"""Folders in which engines keep what they built for this machine."""

import pytest

from service.engine.cache import cache_folder
from service.errors import EngineUnavailable


def test_the_folder_is_made_for_this_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder("tensorrt")
    assert folder == tmp_path / "ethostream" / "tensorrt"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_folder("tensorrt") == folder


def test_a_folder_that_cannot_be_made_is_told_with_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineUnavailable, match=r"tensorrt .*Not a directory.*set XDG_CACHE_HOME"):
        cache_folder("tensorrt")

"""Uploads and what is left of them; the calls are tested in e2e/."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from service.errors import UploadNotFound
from service.uploads import UploadStore

HOUR_S = 3600.0


def store(directory: Path | None) -> UploadStore:
    return UploadStore(directory, max_bytes=100, lifetime_seconds=HOUR_S)


def upload(uploads: UploadStore) -> str:
    upload_id = uploads.begin("mouse.mp4", 3, "")
    uploads.append(upload_id, 0, b"abc")
    uploads.finish(upload_id)
    return upload_id


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * HOUR_S
    os.utime(path, (then, then))


def test_a_server_deletes_what_a_killed_one_left_behind(tmp_path: Path) -> None:
    killed = store(tmp_path)
    old, used, new = (killed.path(upload(killed)) for _ in range(3))
    unfinished = tmp_path / killed.begin("", 0, "")
    other = tmp_path / "notes.txt"
    other.write_text("not an upload")
    for path in (old, used, unfinished, other):
        age(path, 2.0)
    killed.path(used.stem)
    store(tmp_path)
    assert set(tmp_path.iterdir()) == {used, new, other}


def test_a_server_leaves_the_uploads_of_its_neighbor(tmp_path: Path) -> None:
    neighbor = store(tmp_path)
    path = neighbor.path(upload(neighbor))
    store(tmp_path).close()
    assert path.read_bytes() == b"abc"
    neighbor.close()
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_is_there_while_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    uploads = store(None)
    assert not list(tmp_path.iterdir())
    upload_id = upload(uploads)
    assert uploads.path(upload_id).read_bytes() == b"abc"
    uploads.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UploadNotFound):
        uploads.path(upload_id)


def test_an_upload_whose_file_is_gone_is_to_be_sent_again(tmp_path: Path) -> None:
    uploads = store(tmp_path)
    upload_id = upload(uploads)
    uploads.path(upload_id).unlink()
    with pytest.raises(UploadNotFound, match="upload it again"):
        uploads.path(upload_id)

"""Uploads and what is left of them; the calls are tested in e2e/."""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.errors import LimitExceeded, UploadNotFound
from service.uploads import UploadStore

HOUR_S = 3600.0


def store(directory: Path | None) -> UploadStore:
    return UploadStore(directory, max_bytes=100, max_total_bytes=1000, lifetime_seconds=HOUR_S)


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


def test_temporary_folders_of_killed_servers_are_deleted_once_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, neighbor, idle = (store(None) for _ in range(3))
    left = killed.path(upload(killed))
    used = neighbor.path(upload(neighbor))
    idle.discard(upload(idle))
    other = tmp_path / "ethostream-uploads-notes"
    other.mkdir()
    (other / "notes.txt").write_text("not an upload")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = elsewhere / left.name
    kept.write_bytes(b"abc")
    (tmp_path / "ethostream-uploads-link").symlink_to(elsewhere)
    age(left, 2.0)
    age(kept, 2.0)
    store(None)
    assert kept.is_file()
    assert not left.parent.exists()
    assert used.read_bytes() == b"abc"
    assert (other / "notes.txt").is_file()
    assert idle.path(upload(idle)).read_bytes() == b"abc"


def test_a_piece_that_comes_twice_at_once_is_there_once(tmp_path: Path) -> None:
    uploads = UploadStore(
        tmp_path, max_bytes=1 << 30, max_total_bytes=1 << 30, lifetime_seconds=HOUR_S
    )
    piece = bytes(range(256)) * 4096
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            upload_id = uploads.begin("mouse.mp4", len(piece), "")
            sizes = threads.map(uploads.append, [upload_id] * 2, [0] * 2, [piece] * 2)
            assert list(sizes) == [len(piece)] * 2
            uploads.finish(upload_id)
            assert uploads.path(upload_id).read_bytes() == piece


def test_a_piece_that_found_no_room_may_be_sent_again(tmp_path: Path) -> None:
    script = """
import hashlib, resource, signal, sys
from pathlib import Path
from service.errors import LimitExceeded
from service.uploads import UploadStore

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = {"max_bytes": 1 << 30, "max_total_bytes": 1 << 30, "lifetime_seconds": 60}
uploads = UploadStore(Path(sys.argv[1]), **limits)
upload_id = uploads.begin("mouse.mp4", 0, "")
first, second = bytes(range(256)) * 4000, bytes(range(1, 256)) * 4000
uploads.append(upload_id, 0, first)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 1000, hard))
try:
    uploads.append(upload_id, len(first), second)
except LimitExceeded as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
uploads.append(upload_id, len(first), second[:500])
uploads.append(upload_id, len(first) + 500, second[500:])
_, told = uploads.finish(upload_id)
stored = uploads.path(upload_id).read_bytes()
assert stored == first + second
assert hashlib.sha256(stored).hexdigest() == told
"""
    said = subprocess.check_output([sys.executable, "-c", script, str(tmp_path)], text=True)
    assert "send the piece again" in said


@pytest.mark.parametrize("name", ["mouse.mp4\0", "mouse.\n", "mouse./etc", "." * 300])
def test_odd_names_give_plain_ones(name: str, tmp_path: Path) -> None:
    uploads = store(tmp_path)
    upload_id = uploads.begin(name, 0, "")
    assert [path.name for path in tmp_path.iterdir()] == [upload_id]


def test_an_upload_whose_file_is_gone_is_to_be_sent_again(tmp_path: Path) -> None:
    uploads = store(tmp_path)
    upload_id = upload(uploads)
    uploads.path(upload_id).unlink()
    with pytest.raises(UploadNotFound, match="upload it again"):
        uploads.path(upload_id)


def test_all_uploads_together_are_bounded(tmp_path: Path) -> None:
    uploads = store(tmp_path)
    kept = uploads.begin("a.mp4", 0, "")
    for _ in range(10):
        one = uploads.begin("b.mp4", 95, "")
        uploads.append(one, 0, b"x" * 95)
    assert uploads.append(kept, 0, b"y" * 20) == 20
    with pytest.raises(LimitExceeded, match="970 bytes of uploads are here, and 31 more"):
        uploads.append(kept, 20, b"y" * 31)
    with pytest.raises(LimitExceeded, match=r"raise video\.max_uploads_mib"):
        uploads.begin("c.mp4", 31, "")
    uploads.discard(one)
    assert uploads.append(kept, 20, b"y" * 31) == 51
    assert uploads.finish(kept)[0] == 51


def test_uploads_of_nothing_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.uploads._MOST_UPLOADS", 3)
    uploads = store(tmp_path)
    for _ in range(3):
        uploads.begin("", 0, "")
    with pytest.raises(LimitExceeded, match="3 uploads are here already"):
        uploads.begin("", 0, "")

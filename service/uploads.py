"""Videos that clients uploaded: written piece by piece, hashed, deleted after a time."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import (
    InvalidRequest,
    LimitExceeded,
    UploadNotFound,
)

_PIECE_BYTES = 4 << 20
_MOST_UPLOADS = 10_000
_NAME = re.compile(r"[0-9a-f]{32}(\..*)?")
"""Of the file of an upload."""
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}\Z")
"""Of a client's file name, as the file of its upload keeps it."""
_TEMPORARY = "ethostream-uploads-"
"""How names of temporary folders begin."""


@dataclass(slots=True, eq=False)
class _Upload:
    path: Path
    expected_bytes: int
    expected_sha256: str
    size_bytes: int = 0
    last_offset: int = 0
    touched: float = field(default_factory=time.monotonic)
    sha256: str = ""
    """Set once complete."""
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a piece is written: the same one may come twice at once."""


class UploadStore:
    """Uploads in one folder; ids are unguessable.

    Several servers may share the folder. What one left behind that was killed, there or in a
    temporary folder, is deleted by the next that starts, once it was not used for
    `lifetime_seconds`.

    Args:
        directory: the folder; None makes a temporary one at the first upload.
        max_bytes: size of the largest upload.
        max_total_bytes: of all uploads together.
        lifetime_seconds: an upload is deleted when it was not used for this long.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        max_bytes: int,
        max_total_bytes: int,
        lifetime_seconds: float,
    ) -> None:
        self._directory = directory
        self._temporary: Path | None = None
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._lifetime_seconds = lifetime_seconds
        self._uploads: dict[str, _Upload] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._delete_left_behind(directory)
        else:
            self._delete_temporary_left_behind()

    def begin(self, filename: str, size_bytes: int, sha256: str) -> str:
        """Start an upload and return its id.

        Raises:
            LimitExceeded: `size_bytes` is over the limit, or does not fit beside the others.
        """
        self._expire()
        self._check_size(size_bytes)
        self._check_room(size_bytes)
        if len(self._uploads) >= _MOST_UPLOADS:
            raise LimitExceeded(
                f"{len(self._uploads)} uploads are here already; begin another when some of them "
                "were deleted"
            )
        upload_id = secrets.token_hex(16)
        suffix = _SUFFIX.search(filename)
        path = self._folder() / f"{upload_id}{suffix[0] if suffix else ''}"
        path.touch()
        self._uploads[upload_id] = _Upload(path, size_bytes, sha256.lower())
        return upload_id

    def append(self, upload_id: str, offset_bytes: int, data: bytes) -> int:
        """Write a piece at `offset_bytes` and return the bytes that are there now.

        Sending the last piece again is harmless.

        Raises:
            UploadNotFound: no such upload is open.
            InvalidRequest: the piece is too large or leaves a gap.
            LimitExceeded: the upload grows over the limit, or over what all may have or the disk
                holds; the piece may be sent again.
        """
        if len(data) > _PIECE_BYTES:
            raise InvalidRequest(f"a piece has {len(data)} bytes; send at most {_PIECE_BYTES}")
        upload = self._open_upload(upload_id)
        with upload.lock:
            again = offset_bytes == upload.last_offset and (
                offset_bytes + len(data) == upload.size_bytes
            )
            if again and data:
                return upload.size_bytes
            if offset_bytes != upload.size_bytes:
                raise InvalidRequest(
                    f"the piece begins at byte {offset_bytes}, but {upload.size_bytes} bytes are "
                    "here; go on from there"
                )
            self._check_size(upload.size_bytes + len(data))
            self._check_room(len(data))
            _write(upload.path, offset_bytes, data)
            upload.digest.update(data)
            upload.last_offset = offset_bytes
            upload.size_bytes += len(data)
            upload.touched = time.monotonic()
            return upload.size_bytes

    def finish(self, upload_id: str) -> tuple[int, str]:
        """Check and close an upload; return its size in bytes and its SHA-256.

        Raises:
            UploadNotFound: no such upload is open.
            InvalidRequest: it is empty, or its size or hash is not what was announced.
        """
        upload = self._open_upload(upload_id)
        found = upload.digest.hexdigest()
        problem = ""
        if not upload.size_bytes:
            problem = "the upload is empty; send the file's bytes"
        elif upload.expected_bytes not in (0, upload.size_bytes):
            problem = f"{upload.size_bytes} bytes came, {upload.expected_bytes} were announced"
        elif upload.expected_sha256 not in ("", found):
            problem = f"its SHA-256 is {found}, announced was {upload.expected_sha256}"
        if problem:
            self.discard(upload_id)
            raise InvalidRequest(f"the upload was discarded: {problem}; upload it again")
        upload.sha256 = found
        return upload.size_bytes, found

    def path(self, upload_id: str) -> Path:
        """Return the file of a finished upload.

        Raises:
            UploadNotFound: no such upload, not finished, or expired.
        """
        self._expire()
        upload = self._uploads.get(upload_id)
        if upload is None or not upload.sha256 or not upload.path.is_file():
            raise UploadNotFound(
                f"there is no finished upload {upload_id!r}; uploads are kept for "
                f"{self._lifetime_seconds / 3600:g} hours: upload it again"
            )
        upload.touched = time.monotonic()
        os.utime(upload.path)  # tells servers that start in the same folder
        return upload.path

    def discard(self, upload_id: str) -> None:
        """Delete an upload; unknown ids are ignored."""
        upload = self._uploads.pop(upload_id, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete all uploads."""
        for upload_id in list(self._uploads):
            self.discard(upload_id)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _folder(self) -> Path:
        if self._directory is not None:
            return self._directory
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        self._temporary.mkdir(mode=0o700, exist_ok=True)  # a server that started took it for left
        return self._temporary

    def _delete_temporary_left_behind(self) -> None:
        own = getattr(os, "getuid", int)()  # 0 on Windows, as files tell there
        for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
            with suppress(OSError):  # another server may be at it, too; and one in use is not empty
                if folder.lstat().st_uid == own and not folder.is_symlink():
                    self._delete_left_behind(folder)
                    folder.rmdir()

    def _delete_left_behind(self, directory: Path) -> None:
        oldest = time.time() - self._lifetime_seconds
        for path in directory.iterdir():
            with suppress(FileNotFoundError):  # another server may be at it, too
                if _NAME.fullmatch(path.name) and path.stat().st_mtime < oldest:
                    path.unlink()

    def _open_upload(self, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.sha256:
            raise UploadNotFound(f"there is no open upload {upload_id!r}; begin one with `start`")
        return upload

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise LimitExceeded(
                f"the upload has {size_bytes} bytes; this server takes at most {self._max_bytes}: "
                "put the file below one of its roots instead, or raise video.max_upload_mib"
            )

    def _check_room(self, more_bytes: int) -> None:
        used = sum(one.size_bytes for one in list(self._uploads.values()))
        if used + more_bytes > self._max_total_bytes:
            raise LimitExceeded(
                f"{used} bytes of uploads are here, and {more_bytes} more would be over "
                f"{self._max_total_bytes}; go on when some were deleted (they are kept for "
                f"{self._lifetime_seconds / 3600:g} hours), or raise video.max_uploads_mib"
            )

    def _expire(self) -> None:
        now = time.monotonic()
        for upload_id, upload in list(self._uploads.items()):
            if now - upload.touched > self._lifetime_seconds:
                self.discard(upload_id)


def _write(path: Path, offset_bytes: int, data: bytes) -> None:
    """Write a piece over whatever lies from its place on: part of it, where it failed before."""
    try:
        with path.open("r+b") as file:
            file.seek(offset_bytes)
            file.write(data)
            file.truncate()
    except FileNotFoundError as error:
        raise UploadNotFound("the file of this upload is gone; upload it again") from error
    except OSError as error:
        raise LimitExceeded(
            f"the upload cannot be stored: {error.strerror}; send the piece again when the server "
            "has room"
        ) from error

"""Videos that clients uploaded: written piece by piece, hashed, deleted after a time."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from service.errors import (
    InvalidRequest,
    LimitExceeded,
    UploadNotFound,
)

_PIECE_BYTES = 4 << 20
_NAME = re.compile(r"[0-9a-f]{32}(\..*)?")
"""Of the file of an upload."""


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


class UploadStore:
    """Uploads in one folder; ids are unguessable.

    Several servers may share the folder. What one left behind that was killed is deleted by the
    next that starts there, once it was not used for `lifetime_seconds`.

    Args:
        directory: the folder; None makes a temporary one at the first upload.
        max_bytes: size of the largest upload.
        lifetime_seconds: an upload is deleted when it was not used for this long.
    """

    def __init__(self, directory: Path | None, *, max_bytes: int, lifetime_seconds: float) -> None:
        self._directory = directory
        self._temporary: Path | None = None
        self._max_bytes = max_bytes
        self._lifetime_seconds = lifetime_seconds
        self._uploads: dict[str, _Upload] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._delete_left_behind(directory)

    def begin(self, filename: str, size_bytes: int, sha256: str) -> str:
        """Start an upload and return its id.

        Raises:
            LimitExceeded: `size_bytes` is over the limit.
        """
        self._expire()
        self._check_size(size_bytes)
        upload_id = secrets.token_hex(16)
        suffix = PurePosixPath(filename.replace("\\", "/")).suffix[:16]
        path = self._folder() / f"{upload_id}{suffix}"
        path.touch()
        self._uploads[upload_id] = _Upload(path, size_bytes, sha256.lower())
        return upload_id

    def append(self, upload_id: str, offset_bytes: int, data: bytes) -> int:
        """Write a piece at `offset_bytes` and return the bytes that are there now.

        Sending the last piece again is harmless.

        Raises:
            UploadNotFound: no such upload is open.
            InvalidRequest: the piece is too large or leaves a gap.
            LimitExceeded: the upload grows over the limit.
        """
        upload = self._open_upload(upload_id)
        if len(data) > _PIECE_BYTES:
            raise InvalidRequest(f"a piece has {len(data)} bytes; send at most {_PIECE_BYTES}")
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
        with upload.path.open("ab") as file:
            file.write(data)
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
            self._temporary = Path(tempfile.mkdtemp(prefix="ethostream-uploads-"))
        return self._temporary

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

    def _expire(self) -> None:
        now = time.monotonic()
        for upload_id, upload in list(self._uploads.items()):
            if now - upload.touched > self._lifetime_seconds:
                self.discard(upload_id)

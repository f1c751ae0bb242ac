"""Videos that clients uploaded: written piece by piece, hashed, deleted after a time."""

import hashlib
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from service.errors import (
    InvalidRequest,
    LimitExceeded,
    UploadNotFound,
)

_PIECE_BYTES = 4 << 20


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
    """Uploads in one folder; ids are unguessable."""

    def __init__(self, directory: Path | None, *, max_bytes: int, lifetime_seconds: float) -> None:
        self._own = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="ethostream-uploads-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        self._max_bytes = max_bytes
        self._lifetime_seconds = lifetime_seconds
        self._uploads: dict[str, _Upload] = {}

    def begin(self, filename: str, size_bytes: int, sha256: str) -> str:
        """Start an upload and return its id.

        Raises:
            LimitExceeded: `size_bytes` is over the limit.
        """
        self._expire()
        self._check_size(size_bytes)
        upload_id = secrets.token_hex(16)
        suffix = PurePosixPath(filename.replace("\\", "/")).suffix[:16]
        path = self._directory / f"{upload_id}{suffix}"
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
        if upload is None or not upload.sha256:
            raise UploadNotFound(
                f"there is no finished upload {upload_id!r}; uploads are kept for "
                f"{self._lifetime_seconds / 3600:g} hours: upload it again"
            )
        upload.touched = time.monotonic()
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
        if self._own:
            shutil.rmtree(self._directory, ignore_errors=True)

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

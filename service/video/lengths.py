"""Tells files that were cut off by the length that their containers claim."""

import os
from pathlib import Path
from typing import BinaryIO

# The size of a RIFF chunk does not count its own header and padding.
_RIFF_SLACK_BYTES = 8
_RIFF_OPEN = 0xFFFFFFFF  # as FFmpeg writes it until it ends the file
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut_off(path: Path, format_name: str) -> bool:
    """Return whether a file is shorter than its container says; False where it does not say.

    Args:
        path: of the file.
        format_name: FFmpeg's name of the container; AVI, Matroska and WebM tell their length.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        if format_name == "avi":
            return _find_riff_end(file) > size_bytes + _RIFF_SLACK_BYTES
        if "matroska" in format_name:
            return _find_segment_end(file) > size_bytes
    return False


def _find_riff_end(file: BinaryIO) -> int:
    """Where the last chunk ends (files over 1 GiB are several of them); 0 where one is open."""
    end = 0
    while (head := file.read(8))[:4] == b"RIFF":
        chunk_bytes = int.from_bytes(head[4:], "little")
        if chunk_bytes == _RIFF_OPEN:
            return 0
        end += len(head) + chunk_bytes + chunk_bytes % 2
        file.seek(end)
    return end


def _find_segment_end(file: BinaryIO) -> int:
    """Where the Segment ends (RFC 9559, 5.1); 0 where it is open, as that of a recording."""
    if file.read(4) != _EBML:
        return 0
    file.seek(_read_size(file), os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size_bytes = _read_size(file)
    return file.tell() + size_bytes if size_bytes else 0


def _read_size(file: BinaryIO) -> int:
    """Read an element's size (RFC 8794, 4); 0 where it is unknown."""
    first = file.read(1)
    more_bytes = 8 - first[0].bit_length() if first else 0
    bits = 7 * (more_bytes + 1)
    size = int.from_bytes(first + file.read(more_bytes), "big") & ((1 << bits) - 1)
    return 0 if size == (1 << bits) - 1 else size

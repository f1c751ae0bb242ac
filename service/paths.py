"""Which files of the server a client may name: those below the configured roots."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import PathOutsideRoots, VideoNotFound


def resolve_below_roots(text: str, roots: Sequence[Path]) -> Path:
    """Return the real path of `text`, which may be absolute or relative to a root.

    Links are followed before the check, so a link that leads outside is refused.

    Raises:
        PathOutsideRoots: it is not below any root; nothing is said of whether it exists.
        VideoNotFound: no file is there.
    """
    inside = False
    for root in roots:
        base = root.resolve()
        candidate = (base / text).resolve()
        if candidate.is_relative_to(base):
            inside = True
            if candidate.is_file():
                return candidate
    if inside:
        raise VideoNotFound(f"there is no file {text!r} below the server's roots; check the path")
    allowed = "none is configured" if not roots else "ask the operator which are served"
    raise PathOutsideRoots(
        f"the path {text!r} is not below any root of this server ({allowed}); upload the file "
        "instead"
    )

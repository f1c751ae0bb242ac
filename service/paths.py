"""Which files of the server a client may name: those below the configured roots."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidVideo, PathOutsideRoots, VideoNotFound


def resolve_below_roots(text: str, roots: Sequence[Path]) -> Path:
    """Return the real path of `text`, which may be absolute or relative to a root.

    Links are followed before the check, so a link that leads outside is refused.

    Raises:
        PathOutsideRoots: it is not below any root; nothing is said of whether it exists.
        VideoNotFound: no file is there, or the system refuses to look.
    """
    places = find_places(text, roots)
    try:
        file = next((place for place in places if place.is_file()), None)
    except OSError as error:
        raise unreachable(text, error) from error
    if file is not None:
        return file
    if places:
        raise VideoNotFound(f"there is no file {text!r} below the server's roots; check the path")
    allowed = "none is configured" if not roots else "ask the operator which are served"
    raise PathOutsideRoots(
        f"the path {text!r} is not below any root of this server ({allowed}); upload the file "
        "instead"
    )


def find_places(text: str, roots: Sequence[Path]) -> list[Path]:
    """Return the real paths below roots that `text` may mean, there or not; none if it leads out.

    Args:
        text: absolute, or relative to a root.
        roots: folders.
    """
    bases = [root.resolve() for root in roots]
    return [(base / text).resolve() for base in bases if is_below(base / text, [base])]


def is_below(path: Path, bases: Sequence[Path]) -> bool:
    """Whether a path lies below one of some folders once links are followed.

    Args:
        path: there or not.
        bases: real paths.
    """
    try:
        real = path.resolve()
    except (RuntimeError, ValueError):  # links in a circle, a zero byte: it leads nowhere
        return False
    return any(real.is_relative_to(base) for base in bases)


def unreachable(text: str, error: OSError) -> VideoNotFound:
    """Return what to say of a path below the roots at which the system refuses to look."""
    return VideoNotFound(
        f"{text!r} cannot be reached below the server's roots ({error.strerror}); check the path"
    )


def check_name(path: Path) -> None:
    """Refuse a path that no message and no file of results can hold.

    Raises:
        InvalidVideo: its bytes are not UTF-8: a system with another encoding named it.
    """
    if (shown := shown_path(path)) != str(path):
        raise InvalidVideo(
            f"the name of {shown} is not UTF-8, so that no result can hold it; rename it, such as "
            "by `convmv -f latin1 -t utf8 --notest FILE`"
        )


def shown_path(path: Path) -> str:
    """Return a path as text, with escapes where its bytes are not UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()

"""What a job works on: which videos are below its paths, and which files are left out, and why."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from service.bundle import file_sha256
from service.errors import InvalidRequest, PathOutsideRoots, VideoNotFound
from service.paths import check_name, is_below, shown_path, unreachable
from service.results.plan import (
    JOB_REPORT,
    REPORT_ENDING,
    VIDEO_SUFFIXES,
    PlannedVideo,
    plan_videos,
)
from service.video.pictures import is_picture

_RESULT_SUFFIXES = frozenset((".parquet", ".h5", ".csv", ".slp", ".nwb"))
_EDGE_BYTES = 1 << 20
"""Of the begin and the end of files of one size that are compared first: recordings of fixed size
are common, and reading them whole would take hours."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not analyzed."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """What is below some paths."""

    videos: tuple[PlannedVideo, ...]
    left_out: tuple[LeftOut, ...]


def plan_work(paths: Sequence[Path], out: Path | None = None) -> PlannedWork:
    """List the videos of files and folders, each once, and the files that are none.

    Of videos with the same bytes the first is analyzed. Results that were written here before, and
    hidden files, are not mentioned.

    Args:
        paths: files and folders.
        out: see `plan_videos`.

    Raises:
        InvalidRequest: no video was found, two would write the same files, or the name of one is
            not UTF-8.
    """
    planned = plan_videos(paths, out)
    for one in planned:
        for path in one.pictures or (one.path,):
            check_name(path)
    twins = _find_twins([one for one in planned if not one.pictures])
    videos = tuple(one for one in planned if one.path not in twins)
    left_out = [
        LeftOut(str(path), f"it has the same bytes as {first}: see the results of that")
        for path, first in twins.items()
    ]
    known = {one.path.resolve() for one in planned} | {
        file for one in planned for file in one.pictures
    }
    stems = {one.stem for one in planned}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else ():
            reason = _reason(path, file, known, stems)
            if reason:
                left_out.append(LeftOut(shown_path(file), reason))
    return PlannedWork(videos, tuple(left_out))


def find_below_roots(patterns: Sequence[str], roots: Sequence[Path]) -> list[Path]:
    """Return the files and folders that paths and patterns with * and ** name.

    Args:
        patterns: absolute, or relative to a root.
        roots: folders below which all must lie, after links are followed.

    Raises:
        PathOutsideRoots: one is below no root, or has a part `..`; nothing is said of whether it
            exists.
        VideoNotFound: nothing is there, or the system refuses to look.
    """
    found: list[Path] = []
    bases = [root.resolve() for root in roots]
    for pattern in patterns:
        relative = [
            (base, part)
            for root, base in zip(roots, bases, strict=True)
            if (part := _below(pattern, root, base, bases))
        ]
        if not relative:
            raise _outside([pattern], roots)
        try:
            matches = [path for base, part in relative for path in _matches(base, part)]
        except OSError as error:
            raise unreachable(pattern, error) from error
        if not matches:
            raise VideoNotFound(
                f"nothing is at {pattern!r} below the server's roots; check the path"
            )
        for path in matches:
            check_below(path, bases, [pattern])
            found.append(path)
    return found


def check_below(path: Path, roots: Sequence[Path], asked: Sequence[str]) -> None:
    """Refuse a path that a link leads out of the roots.

    Args:
        path: the path.
        roots: real paths of folders below which it must lie, after links are followed.
        asked: paths and patterns of the client by which it was found: all that it is told.

    Raises:
        PathOutsideRoots: it is below none.
    """
    if not is_below(path, roots):
        raise _outside(asked, roots)


def _outside(asked: Sequence[str], roots: Sequence[Path]) -> PathOutsideRoots:
    hint = "ask the operator which are served, and use no `..`" if roots else "none is configured"
    return PathOutsideRoots(
        f"what {', '.join(map(repr, asked))} names leads outside of this server's roots ({hint})"
    )


def _below(pattern: str, root: Path, base: Path, bases: Sequence[Path]) -> str:
    """Return a pattern relative to a root; empty where it leads elsewhere, before one looks.

    Args:
        pattern: absolute ones begin with the root, or with its real path.
        root: as it is configured; may be a link.
        base: its real path.
        bases: those of all roots, in which links may end.
    """
    path = Path(pattern)
    if path.is_absolute():
        names = [one for one in (base, root.absolute()) if path.is_relative_to(one)]
        if not names:
            return ""
        path = path.relative_to(names[0])
    fixed = takewhile(lambda part: not _is_pattern(part), path.parts)
    if ".." in path.parts or not is_below(base.joinpath(*fixed), bases):
        return ""
    return str(path)


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _matches(base: Path, pattern: str) -> list[Path]:
    path = base / pattern
    if path.exists():  # a name may hold signs of patterns
        return [path]
    if not _is_pattern(pattern):
        return []
    try:
        return sorted(base.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise InvalidRequest(f"the pattern {pattern!r} cannot be read: {error}") from error


def _reason(folder: Path, file: Path, known: set[Path], stems: set[str]) -> str:
    """Say why what is below a folder is not analyzed; empty where it is, or nobody would ask."""
    if any(part.startswith(".") for part in file.relative_to(folder).parts):
        return ""
    if not file.is_file():
        return _reason_of_other(folder, file)
    if file.resolve() in known or file.name == JOB_REPORT:
        return ""
    is_result = file.suffix in _RESULT_SUFFIXES or file.name.endswith(REPORT_ENDING)
    if is_result and any(file.name.startswith(stem) for stem in stems):
        return ""
    suffix = file.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "it was drawn here"
    if is_picture(file):
        return "it is a picture in a folder of videos"
    return f"its ending {suffix or 'is missing and'} is none of a video"


def _reason_of_other(folder: Path, file: Path) -> str:
    """Say why nothing is found behind what is no file; empty for a folder that is searched."""
    if file.is_symlink():
        if not file.is_dir():
            return f"it is a link to {shown_path(file.readlink())}, where nothing is"
        if not is_below(file, [folder.resolve()]):
            return "it is a link to another folder; name that one, too"
    elif file.is_dir() and not os.access(file, os.R_OK | os.X_OK):
        return "this user may not look into it; change its rights"
    return ""


def _find_twins(videos: Sequence[PlannedVideo]) -> dict[Path, Path]:
    """Return the videos that have the bytes of an earlier one, with that."""
    by_size: dict[int, list[Path]] = {}
    for one in videos:
        if one.path.is_file():
            by_size.setdefault(one.path.stat().st_size, []).append(one.path)
    twins: dict[Path, Path] = {}
    for same_size in by_size.values():
        if len(same_size) < 2:
            continue
        by_edges: dict[bytes, list[Path]] = {}
        for path in same_size:
            by_edges.setdefault(_edges(path), []).append(path)
        for alike in by_edges.values():
            firsts: dict[str, Path] = {}
            for path in alike if len(alike) > 1 else ():
                first = firsts.setdefault(file_sha256(path), path)
                if first != path:
                    twins[path] = first
    return twins


def _edges(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(_EDGE_BYTES))
            file.seek(-min(_EDGE_BYTES, path.stat().st_size), 2)
            digest.update(file.read())
    except OSError:  # its analysis will say so
        return str(path).encode()
    return digest.digest()

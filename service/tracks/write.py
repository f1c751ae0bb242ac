"""Writes tracks: Parquet for us, .h5 and .csv as DeepLabCut writes predictions."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidRequest
from service.results.deeplabcut import keypoint_table, scorer_name, write_table
from service.tracks.stored import write_stored_track
from service.tracks.track import Track

FORMATS = {"parquet": ".parquet", "dlc-h5": ".h5", "dlc-csv": ".csv"}
"""Name of each format and the ending of its files."""


def write_tracks(
    track: Track, out_stem: Path, formats: Sequence[str] = tuple(FORMATS)
) -> list[Path]:
    """Write a track in the named formats; each file appears only when it is whole.

    Args:
        track: what to write.
        out_stem: folder and name of the files without ending; see `derived_stem`.
        formats: some of `FORMATS`.

    Returns:
        The files.

    Raises:
        InvalidRequest: an unknown format, or a file would replace the one the track came from.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InvalidRequest(f"unknown format {unknown[0]!r}; choose some of {', '.join(FORMATS)}")
    paths = [out_stem.with_name(out_stem.name + FORMATS[name]) for name in formats]
    if track.source.resolve() in [path.resolve() for path in paths]:
        raise InvalidRequest(
            f"writing would replace {track.source}, which was read; choose another folder or ending"
        )
    for name, path in zip(formats, paths, strict=True):
        if name == "parquet":
            write_stored_track(track, path)
        else:
            table = keypoint_table(
                scorer(track),
                track.keypoints,
                track.frame_index,
                track.keypoints_xy,
                track.confidence,
                animals=track.names if track.animals > 1 else track.animal_names,
                unique_keypoints=track.unique_keypoints,
            )
            write_table(table, path)
    return paths


def scorer(track: Track) -> str:
    """Name of what predicted a track, as DeepLabCut's files have it."""
    name, _, version = track.model.rpartition("@")
    return scorer_name(name, int(version)) if name and version.isdecimal() else track.model


def derived_stem(track: Track, ending: str, out: Path | None = None) -> Path:
    """Where what is made from a track goes: `<video><scorer>_<ending>`, as DeepLabCut names it.

    Args:
        track: read from a file.
        ending: such as `filtered`.
        out: folder; None takes that of the file.
    """
    stem, name = track.source.stem, scorer(track)
    if name not in stem and track.source.suffix == ".parquet":
        stem += name
    return (out or track.source.parent) / f"{stem}_{ending}"

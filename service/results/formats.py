"""The formats that results are written in, by name."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidRequest
from service.results.parquet import record_path, write_record
from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults

FORMATS = {
    "parquet": "everything, with its provenance; always written",
    "dlc-h5": "poses for DeepLabCut, <video><scorer>.h5",
    "dlc-csv": "poses for DeepLabCut, <video><scorer>.csv",
    "behavior-csv": "frame by behavior tables of probabilities and of predictions",
}
"""Name of each format and what it holds."""


def write_results(
    results: VideoResults, out: Path, formats: Sequence[str] = tuple(FORMATS), *, stem: str = ""
) -> list[Path]:
    """Write results in the named formats; each file appears only when it is whole.

    An older record of the video is taken away first and the new one is written last: where a
    record exists, the other files of its formats belong to it.

    Args:
        results: of one video.
        out: folder, made where it is missing.
        formats: some of `FORMATS`; the record is written in any case.
        stem: beginning of the file names; empty takes the video's name without its ending.

    Returns:
        The files.

    Raises:
        InvalidRequest: an unknown format.
    """
    check_formats(formats)
    stem = stem or results.provenance.source.stem
    record = record_path(out, stem)
    record.unlink(missing_ok=True)
    write_derived(results, out, formats, stem=stem)
    write_record(results, record)
    return result_paths(out, stem, results.provenance.bundles, formats)


def write_derived(results: VideoResults, out: Path, formats: Sequence[str], *, stem: str) -> None:
    """Write the formats that are made from the record."""
    from service.results import deepethogram, deeplabcut

    if "dlc-h5" in formats:
        deeplabcut.write_h5(results, out, stem)
    if "dlc-csv" in formats:
        deeplabcut.write_csv(results, out, stem)
    if "behavior-csv" in formats:
        deepethogram.write_behavior(results, out, stem)


def result_paths(
    out: Path, stem: str, bundles: Sequence[AnsweredBundle], formats: Sequence[str]
) -> list[Path]:
    """List the files of a video in the named formats, the record first.

    Raises:
        InvalidRequest: an unknown format.
    """
    from service.results.deepethogram import behavior_path
    from service.results.deeplabcut import pose_path

    check_formats(formats)
    poses = [one for one in bundles if one.pose is not None]
    behaviors = [one for one in bundles if one.behavior is not None]
    paths = [record_path(out, stem)]
    for name, suffix in (("dlc-h5", ".h5"), ("dlc-csv", ".csv")):
        if name in formats:
            paths += [pose_path(out, stem, one, suffix) for one in poses]
    if "behavior-csv" in formats:
        paths += [
            behavior_path(out, stem, one, content, several=len(behaviors) > 1)
            for one in behaviors
            for content in ("probabilities", "predictions")
        ]
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Refuse a format that does not exist.

    Raises:
        InvalidRequest: the message lists those that do.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InvalidRequest(f"unknown format {unknown[0]!r}; choose some of {', '.join(FORMATS)}")

"""Writes results in formats that are named; says which files they are."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidRequest
from service.extras import analysis_module, require_analysis
from service.format_names import DEFAULT_FORMATS, FORMATS
from service.results.parquet import record_path, write_record
from service.results.plan import OUTPUTS_ENDING
from service.results.provenance import AnsweredBundle
from service.results.video_results import VideoResults

_LIBRARIES = {
    "slp": ("sleap_io", "h5py"),
    "sleap-h5": ("sleap_io", "h5py"),
    "nwb": ("ndx_pose", "pynwb"),
    "deg-h5": ("h5py",),
}
"""Libraries of the analysis extra that a format needs."""


def write_results(
    results: VideoResults,
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    stem: str = "",
    video: Path | None = None,
) -> list[Path]:
    """Write results in the named formats; each file appears only when it is whole.

    An older record of the video is taken away first and the new one is written last: where a
    record exists, the other files of its formats belong to it.

    Args:
        results: of one video.
        out: folder, made where it is missing.
        formats: some of `FORMATS`; the record is written in any case.
        stem: beginning of the file names; empty takes the video's name without its ending.
        video: the recording, as files refer to it; None: by its name, as if it lay in `out`.

    Returns:
        The files.

    Raises:
        InvalidRequest: an unknown format.
        EngineUnavailable: a format needs a library that is not installed.
    """
    check_formats(formats)
    stem = stem or results.provenance.source.stem
    record = record_path(out, stem)
    record.unlink(missing_ok=True)
    write_derived(results, out, formats, stem=stem, video=video)
    write_record(results, record)
    return result_paths(out, stem, results.provenance.bundles, formats)


def write_derived(
    results: VideoResults,
    out: Path,
    formats: Sequence[str],
    *,
    stem: str,
    video: Path | None = None,
    home: Path | None = None,
) -> None:
    """Write the formats that are made from the record.

    Args:
        results: of one video.
        out: folder, made where it is missing.
        formats: some of `FORMATS`; the record is not written.
        stem: beginning of the file names.
        video: as of `write_results`.
        home: folder that the files are moved to when all are there; None: they stay in `out`.

    Raises:
        EngineUnavailable: a format needs a library that is not installed.
    """
    from service.results import bouts, deepethogram, deeplabcut

    for name in formats:
        paths = _paths(name, out, stem, results.provenance.bundles)
        match name:
            case "dlc-h5":
                deeplabcut.write_h5(results, out, stem)
            case "dlc-csv":
                deeplabcut.write_csv(results, out, stem)
            case "behavior-csv":
                deepethogram.write_behavior(results, out, stem)
            case "slp" | "sleap-h5":
                sleap = analysis_module("service.results.sleap", _purpose(name))
                write = sleap.write_slp if name == "slp" else sleap.write_analysis
                for path, (bundle, poses) in zip(paths, results.pose_answers(), strict=True):
                    write(results, bundle, poses, path, video)
            case "nwb":
                nwb = analysis_module("service.results.nwb", _purpose(name))
                nwb.write_nwb(results, paths[0], video, home)
            case "deg-h5" if paths:
                outputs = analysis_module("service.results.deepethogram_outputs", _purpose(name))
                outputs.write_outputs(results, paths[0], home)
            case "bouts" if paths:
                bouts.write_bouts(results, paths[0], stem)


def result_paths(
    out: Path, stem: str, bundles: Sequence[AnsweredBundle], formats: Sequence[str]
) -> list[Path]:
    """List the files of a video in the named formats, the record first.

    Raises:
        InvalidRequest: an unknown format.
    """
    _check_names(formats)
    return [
        path
        for name in FORMATS
        if name == "parquet" or name in formats
        for path in _paths(name, out, stem, bundles)
    ]


def check_formats(formats: Sequence[str]) -> None:
    """Refuse a format that does not exist, or cannot be written here.

    Raises:
        InvalidRequest: the message lists those that exist.
        EngineUnavailable: it needs a library that is not installed; the message says how to.
    """
    _check_names(formats)
    for name in formats:
        for library in _LIBRARIES.get(name, ()):
            require_analysis(library, _purpose(name))


def _check_names(formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InvalidRequest(f"unknown format {unknown[0]!r}; choose some of {', '.join(FORMATS)}")


def _purpose(name: str) -> str:
    return f"the format {name}"


def _paths(name: str, out: Path, stem: str, bundles: Sequence[AnsweredBundle]) -> list[Path]:
    """Files of one format; none where no bundle answered what it holds."""
    from service.results.deepethogram import behavior_path
    from service.results.deeplabcut import pose_path

    poses = [one for one in bundles if one.pose is not None]
    behaviors = [one for one in bundles if one.behavior is not None]
    match name:
        case "parquet":
            return [record_path(out, stem)]
        case "dlc-h5" | "dlc-csv":
            return [pose_path(out, stem, one, f".{name.removeprefix('dlc-')}") for one in poses]
        case "slp" | "sleap-h5":
            ending = ".predictions.slp" if name == "slp" else ".analysis.h5"
            owners = [f"_{one.name}_v{one.version}" if len(poses) > 1 else "" for one in poses]
            return [out / f"{stem}{owner}{ending}" for owner in owners]
        case "nwb":
            return [out / f"{stem}.nwb"]
        case "behavior-csv":
            return [
                behavior_path(out, stem, one, content, several=len(behaviors) > 1)
                for one in behaviors
                for content in ("probabilities", "predictions")
            ]
    endings = {"deg-h5": OUTPUTS_ENDING, "bouts": "_bouts.csv"}
    return [out / f"{stem}{endings[name]}"] if behaviors else []

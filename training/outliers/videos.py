"""Finds the video that a file of predictions is of."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidRequest, VideoNotFound
from service.results import read_provenance
from service.results.plan import OVERLAY_ENDING, VIDEO_SUFFIXES
from service.tracks.stored import is_stored_track
from training.data.deeplabcut_config import ProjectConfig


def find_video(predictions: Path, project: ProjectConfig | None, given: Path | None) -> Path:
    """Return the video of `predictions`.

    A record of ethostream names its video, and its size is compared; the name of any other file
    begins with that of its video, as DeepLabCut's do (`cage4DLC_Resnet50_...h5`). The video is
    looked for among those of the project and beside the predictions.

    Args:
        predictions: a record, or predictions of DeepLabCut or SLEAP.
        project: lists videos; None where there is no project.
        given: what the caller says; taken as it is.

    Raises:
        VideoNotFound: it is in none of these places.
        InvalidRequest: the record is of another file of that name, or is damaged.
    """
    if given is not None:
        if not given.is_file():
            raise VideoNotFound(f"the video {given} does not exist; correct --video")
        return given
    candidates = [video.path for video in project.videos] if project else []
    if project is not None:
        candidates += _videos_in(project.directory / "videos")
    candidates = [path for path in candidates if path.is_file()] + _videos_in(predictions.parent)
    if predictions.suffix == ".parquet" and not is_stored_track(predictions):
        return _of_record(predictions, candidates)
    fitting = [path for path in candidates if predictions.name.startswith(path.stem)]
    if not fitting:
        raise VideoNotFound(
            f"no video whose name {predictions.name} begins with is in the project or beside it; "
            "name it with --video"
        )
    return max(fitting, key=lambda path: len(path.stem))


def _of_record(record: Path, candidates: Sequence[Path]) -> Path:
    source = read_provenance(record).source
    named = [path for path in candidates if path.name == source.name]
    if not named:
        raise VideoNotFound(
            f"{record} is of {source.name}, which is neither in the project nor beside it; name "
            "it with --video"
        )
    for path in named:
        if path.stat().st_size == source.size_bytes:
            return path
    raise InvalidRequest(
        f"{named[0]} has {named[0].stat().st_size} bytes, but {record} is of a file of that name "
        f"with {source.size_bytes}; analyze the video again, or name the right one with --video"
    )


def _videos_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not path.name.endswith(OVERLAY_ENDING)
    )

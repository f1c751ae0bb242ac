"""What is known of one video and its results: the file `manifest.json` in its work folder.

The work folder of `<out>/<stem>` is `<out>/.ethostream/<stem>`: one place for all who would write
the same results, whichever job or command they serve.
"""

from pathlib import Path
from typing import Literal

import msgspec

from service.results.atomic import replacing
from service.results.plan import PlannedVideo
from service.results.provenance import AnsweredBundle, RequestOptions, VideoSource
from service.values import VideoInfo

FORMAT_VERSION = 1
VideoState = Literal["working", "done", "failed"]


class SourceStamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A video file, as far as it is known without reading it."""

    size_bytes: int
    modified_ns: int


class WorkStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that rows depend on; chunks of another start are never mixed with those of this one."""

    ethostream: str
    """Version of the program."""
    source: SourceStamp
    options: RequestOptions
    bundles: tuple[AnsweredBundle, ...]
    """With the strides that the video needs."""
    info: VideoInfo
    """With the decoder and its version."""


class VideoManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of one video's results."""

    format_version: int = FORMAT_VERSION
    video: str
    """Path of the file, as it was given."""
    state: VideoState
    start: WorkStart | None = None
    """None before the video was opened."""
    source: VideoSource | None = None
    """With its SHA-256; None before that is known."""
    frames: int = 0
    """Rows that are on disk."""
    frames_claimed: int = 0
    """By the container; 0 where it does not say."""
    resumed_frames: int = 0
    """Rows that were there already when the last attempt began."""
    seconds: float = 0.0
    """Time of the last attempt's analysis."""
    message: str = ""
    """Why it failed, or what was wrong with the file."""
    decoder: str = ""
    statuses: dict[str, int] = {}
    """Frames by what decoding gave, once done."""
    files: tuple[str, ...] = ()
    """What was written, the record first, once done."""


def work_folder(video: PlannedVideo) -> Path:
    """Folder of the manifest, the lease and the chunks of a video."""
    return video.out / ".ethostream" / video.stem


def read_manifest(folder: Path) -> VideoManifest | None:
    """Read the manifest of a work folder; None where there is none that this version reads."""
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=VideoManifest)
    except (OSError, msgspec.MsgspecError):
        return None
    return manifest if manifest.format_version == FORMAT_VERSION else None


def write_manifest(folder: Path, manifest: VideoManifest) -> None:
    """Write the manifest; only the holder of the folder's lease does so."""
    with replacing(folder / "manifest.json") as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))

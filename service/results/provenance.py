"""Where results come from: the video, the bundles that answered, and what was asked of them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from service.bundle import file_sha256
from service.errors import VideoNotFound
from service.values import BundleVersion, VideoInfo
from service.video.pictures import PictureList

FORMAT_VERSION = 2


class VideoSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The video file as it was read."""

    name: str
    """File name without its folder."""
    size_bytes: int
    modified_ns: int
    """Time of its last change, ns since 1970."""
    sha256: str
    pictures: tuple[str, ...] = ()
    """File names of a folder of pictures, by frame number; empty for a video."""

    @property
    def stem(self) -> str:
        """File name without its ending; of pictures, the name of their folder."""
        return self.name if self.pictures else Path(self.name).stem


class AnsweredPose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the answers of a pose bundle mean."""

    keypoints: tuple[str, ...]
    """Names in the order of axis K."""
    skeleton: tuple[tuple[str, str], ...] = ()
    max_animals: int = 1
    """N."""
    unique_keypoints: tuple[str, ...] = ()
    """Keypoints that exist once in the scene: only in row 0 of axis N."""
    confidence_cutoff: float = 0.6


class AnsweredBehavior(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the answers of a behavior bundle mean, with the thresholds that were used."""

    behaviors: tuple[str, ...]
    """Names in the order of axis C."""
    exclusive: bool
    thresholds: tuple[float, ...]
    min_bout_frames: tuple[int, ...]
    """Shortest bouts in frames of the bundle's rate; times `stride` in frames of the video."""
    stride: int = 1
    """Every how many-th frame was evaluated."""


class AnsweredBundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle and the engine that computed it."""

    name: str
    version: int
    manifest_sha256: str
    engine: str
    """Such as openvino:cpu."""
    precision: str
    """Such as bf16."""
    pose: AnsweredPose | None = None
    behavior: AnsweredBehavior | None = None

    @property
    def key(self) -> BundleVersion:
        """Name and version."""
        return BundleVersion(self.name, self.version)


class DynamicCropOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How frames were cropped around the animal."""

    margin_px: float
    max_zoom: float


class RequestOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked, besides the bundles."""

    crop_xywh: tuple[int, int, int, int] | None = None
    """Left, top, width and height in px of the part that the models looked at; None: all."""
    first_frame: int = 0
    frame_limit: int = 0
    """0: to the end."""
    frame_rate_hz: float = 0.0
    """Rate that replaced the container's; 0: none."""
    dynamic_crop: DynamicCropOptions | None = None
    """How frames were cropped around the animal; None: not."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that results depend on; stored with them."""

    format_version: int = FORMAT_VERSION
    ethostream: str
    """Version of the program."""
    source: VideoSource
    info: VideoInfo
    """What the container said, and the decoder that read it."""
    bundles: tuple[AnsweredBundle, ...]
    options: RequestOptions
    message: str = ""
    """What was wrong with the file; empty where nothing was."""

    @property
    def pose_bundles(self) -> tuple[AnsweredBundle, ...]:
        """The pose bundles in the order of the results."""
        return tuple(one for one in self.bundles if one.pose is not None)

    @property
    def behavior_bundles(self) -> tuple[AnsweredBundle, ...]:
        """The behavior bundles in the order of the results."""
        return tuple(one for one in self.bundles if one.behavior is not None)


class _PoseLike(Protocol):
    @property
    def keypoints(self) -> tuple[str, ...]: ...
    @property
    def skeleton(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def max_animals(self) -> int: ...
    @property
    def unique_keypoints(self) -> tuple[str, ...]: ...
    @property
    def confidence_cutoff(self) -> float: ...


class _BehaviorLike(Protocol):
    @property
    def behaviors(self) -> tuple[str, ...]: ...
    @property
    def exclusive(self) -> bool: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def min_bout_frames(self) -> tuple[int, ...]: ...


def describe_bundle(
    key: BundleVersion,
    *,
    manifest_sha256: str,
    engine: str,
    precision: str,
    pose: _PoseLike | None,
    behavior: _BehaviorLike | None,
    stride: int = 1,
    thresholds: Mapping[str, float] | None = None,
) -> AnsweredBundle:
    """Describe a bundle as results keep it, from a manifest or from a server's description.

    Args:
        key: name and version.
        manifest_sha256: of its bundle.json.
        engine: engine and device.
        precision: that it computes with.
        pose: what a pose bundle answers.
        behavior: what a behavior bundle answers.
        stride: every how many-th frame is evaluated.
        thresholds: those that replace the bundle's own, by behavior.
    """
    return AnsweredBundle(
        name=key.name,
        version=key.version,
        manifest_sha256=manifest_sha256,
        engine=engine,
        precision=precision,
        pose=None
        if pose is None
        else AnsweredPose(
            keypoints=tuple(pose.keypoints),
            skeleton=tuple(pose.skeleton),
            max_animals=pose.max_animals,
            unique_keypoints=tuple(pose.unique_keypoints),
            confidence_cutoff=pose.confidence_cutoff,
        ),
        behavior=None
        if behavior is None
        else AnsweredBehavior(
            behaviors=tuple(behavior.behaviors),
            exclusive=behavior.exclusive,
            thresholds=tuple(
                (thresholds or {}).get(name, value)
                for name, value in zip(behavior.behaviors, behavior.thresholds, strict=True)
            ),
            min_bout_frames=tuple(behavior.min_bout_frames),
            stride=stride,
        ),
    )


def describe_source(video: Path | PictureList) -> VideoSource:
    """Read the size, time and SHA-256 of a video file, or of all pictures of a list.

    The SHA-256 of pictures is that of their lines `sha256  name`, as sha256sum writes them.

    Raises:
        VideoNotFound: there is no such file, or it may not be read.
    """
    try:
        if isinstance(video, PictureList):
            listing = _listing(video)
            return VideoSource(
                name=video.folder.resolve().name,
                size_bytes=size_bytes(video),
                modified_ns=modified_ns(video),
                sha256=listing,
                pictures=video.names,
            )
        return VideoSource(
            name=video.name,
            size_bytes=size_bytes(video),
            modified_ns=modified_ns(video),
            sha256=file_sha256(video),
        )
    except OSError as error:
        name = error.filename or video
        raise VideoNotFound(f"the video {name} cannot be read: {error.strerror}") from error


def same_work(
    stored: Provenance,
    video: Path | PictureList,
    bundles: Sequence[AnsweredBundle],
    options: RequestOptions,
) -> bool:
    """Say whether `stored` results are those that analyzing `video` now would give.

    The file (or the list of pictures) counts as the same where its size and time are, or else its
    size and SHA-256; bundles by version, manifest, engine, precision and thresholds. The stride
    follows from the rest.
    """
    if stored.format_version != FORMAT_VERSION or stored.options != options:
        return False
    if [without_stride(one) for one in stored.bundles] != [without_stride(one) for one in bundles]:
        return False
    if (video.names if isinstance(video, PictureList) else ()) != stored.source.pictures:
        return False
    if size_bytes(video) != stored.source.size_bytes:
        return False
    if modified_ns(video) == stored.source.modified_ns:
        return True
    found = _listing(video) if isinstance(video, PictureList) else file_sha256(video)
    return found == stored.source.sha256


def size_bytes(video: Path | PictureList) -> int:
    """Return the size of a video file, or of all pictures of a list."""
    return sum(path.stat().st_size for path in _files(video))


def modified_ns(video: Path | PictureList) -> int:
    """Return the time of the last change, ns since 1970; of pictures, the newest."""
    return max(path.stat().st_mtime_ns for path in _files(video))


def _files(video: Path | PictureList) -> tuple[Path, ...]:
    return video.files if isinstance(video, PictureList) else (video,)


def _listing(pictures: PictureList) -> str:
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in pictures.files)
    return hashlib.sha256(lines.encode()).hexdigest()


def without_stride(bundle: AnsweredBundle) -> AnsweredBundle:
    """Return a bundle as it is before the rate of a video is known."""
    if bundle.behavior is None:
        return bundle
    return msgspec.structs.replace(
        bundle, behavior=msgspec.structs.replace(bundle.behavior, stride=1)
    )

"""Where the rows of a video come from: computed in this process, or by a server."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.archive import VideoFinished, VideoOptions, VideoStarted
from service.dynamic_crop import DynamicCrop
from service.preprocess import CropRegion
from service.repository import LoadedBundle
from service.results import AnsweredBundle, RequestOptions
from service.results.provenance import describe_bundle
from service.results.video_results import ChunkLike
from service.runtime import Runtime, parse_bundle
from service.values import Poses, VideoInfo
from service.video.pictures import PictureList


@dataclass(frozen=True, slots=True)
class Started:
    """A video was opened."""

    info: VideoInfo
    bundles: tuple[AnsweredBundle, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """All of its chunks came."""

    message: str
    """What was wrong with the file; empty where nothing was."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Where an interrupted video goes on."""

    frame_index: int
    """Of the first row that is not there yet."""
    last_poses: tuple[tuple[int, Poses], ...]
    """The newest frame with poses and these, one for each pose bundle; empty where none has."""


class Analyzer(Protocol):
    """Analyzes videos with bundles that are chosen already."""

    @property
    def bundles(self) -> tuple[AnsweredBundle, ...]:
        """The bundles, with strides of 1: those depend on the video."""

    def can_resume(self, options: RequestOptions) -> bool:
        """Say whether a video can go on from its middle."""

    def analyze(
        self, video: Path | PictureList, options: RequestOptions, resume: Resume | None = None
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        """Yield the start, the result chunks in order, and the end; close it in any case."""


class LocalAnalyzer:
    """Computes in this process."""

    def __init__(self, runtime: Runtime, names: Sequence[str]) -> None:
        self._runtime = runtime
        self._selections = runtime.select(names)
        self.bundles = tuple(_from_loaded(one.loaded) for one in self._selections)

    def can_resume(self, options: RequestOptions) -> bool:
        """See `Analyzer`: always."""
        return True

    async def analyze(
        self, video: Path | PictureList, options: RequestOptions, resume: Resume | None = None
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        """Yield the start, the result chunks in order, and the end."""
        crop = CropRegion(*options.crop_xywh) if options.crop_xywh else None
        follow = options.dynamic_crop
        events = self._runtime.analyze(
            video,
            VideoOptions(
                selections=self._selections,
                crop=crop,
                first_frame=options.first_frame,
                resume_frame=resume.frame_index if resume else 0,
                last_poses=resume.last_poses if resume else (),
                frame_limit=options.frame_limit,
                frame_rate_hz=options.frame_rate_hz,
                dynamic_crop=None
                if follow is None
                else DynamicCrop(margin_px=follow.margin_px, max_zoom=follow.max_zoom),
            ),
        )
        assert isinstance(events, AsyncGenerator)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, VideoStarted):
                    strides = zip(event.bundles, event.strides, strict=True)
                    yield Started(
                        event.info, tuple(_from_loaded(one, stride) for one, stride in strides)
                    )
                elif isinstance(event, VideoFinished):
                    yield Finished(event.message)
                else:
                    yield event


async def open_local_analyzer(runtime: Runtime, names: Sequence[str]) -> LocalAnalyzer:
    """Load the bundles that are not loaded yet, NAME@VERSION each, and compute with them.

    Raises:
        BundleNotFound, BundleInvalid: one is not there, or damaged.
        EngineUnavailable: the engine that it needs is not on this machine.
    """
    loaded = {str(one.key) for one in runtime.repository.loaded()}
    for name in names:
        if name not in loaded:
            await runtime.repository.load(*parse_bundle(name))
    return LocalAnalyzer(runtime, names)


def _from_loaded(loaded: LoadedBundle, stride: int = 1) -> AnsweredBundle:
    manifest = loaded.bundle.manifest
    return describe_bundle(
        loaded.key,
        manifest_sha256=loaded.manifest_sha256,
        engine=loaded.engine,
        precision=loaded.precision,
        pose=manifest.pose,
        behavior=manifest.behavior,
        stride=stride,
    )

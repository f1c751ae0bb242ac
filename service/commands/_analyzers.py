"""The two places where `analyze` can compute: this process, or a server."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ethostream import AsyncClient, BundleInfo, Crop
from ethostream import DynamicCrop as ClientDynamicCrop

from service.archive import VideoFinished, VideoOptions, VideoStarted
from service.config import ServiceConfig
from service.dynamic_crop import DynamicCrop
from service.errors import BundleNotFound, InvalidRequest
from service.preprocess import CropRegion
from service.repository import LoadedBundle
from service.results import AnsweredBundle, RequestOptions
from service.results.provenance import describe_bundle
from service.results.video_results import ChunkLike
from service.runtime import Runtime, local_runtime
from service.values import BundleVersion, VideoInfo
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


class Analyzer(Protocol):
    """Analyzes videos with bundles that are chosen already."""

    @property
    def bundles(self) -> tuple[AnsweredBundle, ...]:
        """The bundles, with strides of 1: those depend on the video."""

    def analyze(
        self, video: Path | PictureList, options: RequestOptions
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        """Yield the start, the result chunks in order, and the end; close it in any case."""


class LocalAnalyzer:
    """Computes in this process."""

    def __init__(self, runtime: Runtime, names: Sequence[str]) -> None:
        self._runtime = runtime
        self._selections = runtime.select(names)
        self.bundles = tuple(_from_loaded(one.loaded) for one in self._selections)

    async def analyze(
        self, video: Path | PictureList, options: RequestOptions
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


class RemoteAnalyzer:
    """Uploads each video to a server, which computes."""

    def __init__(self, client: AsyncClient, bundles: Sequence[BundleInfo]) -> None:
        self._client = client
        self.bundles = tuple(_from_info(one) for one in bundles)
        self._names = [str(one.key) for one in self.bundles]

    async def analyze(
        self, video: Path | PictureList, options: RequestOptions
    ) -> AsyncGenerator[Started | ChunkLike | Finished, None]:
        """Yield the start, the result chunks in order, and the end.

        Raises:
            InvalidRequest: pictures are given; a server takes videos.
        """
        if isinstance(video, PictureList):
            raise InvalidRequest(
                f"the pictures of {video.folder} cannot be uploaded; leave --server out, or send "
                "them with `ethostream stream`"
            )
        follow = options.dynamic_crop
        analysis = self._client.analyze(
            upload=video,
            bundles=self._names,
            crop=Crop(*options.crop_xywh) if options.crop_xywh else None,
            first_frame=options.first_frame,
            frame_limit=options.frame_limit,
            frame_rate_hz=options.frame_rate_hz,
            dynamic_crop=None
            if follow is None
            else ClientDynamicCrop(margin_px=follow.margin_px, max_zoom=follow.max_zoom),
        )
        async with aclosing(analysis):
            started = await analysis.open()
            found = started.info
            info = VideoInfo(
                found.width_px,
                found.height_px,
                found.frame_rate_hz,
                found.claimed_frames,
                found.codec,
                found.decoder,
            )
            strides = zip(started.bundles, started.strides, strict=True)
            yield Started(info, tuple(_from_info(one, stride) for one, stride in strides))
            async for chunk in analysis:
                yield chunk
            yield Finished(analysis.finished.message if analysis.finished else "")


@asynccontextmanager
async def open_local(
    models: Path, names: Sequence[str], config: ServiceConfig
) -> AsyncIterator[LocalAnalyzer]:
    """Load bundles of a folder: those named, or the newest of all."""
    async with local_runtime(models, bundles=names, config=config) as runtime:
        loaded = [str(one.key) for one in runtime.repository.loaded()]
        if not loaded:
            raise BundleNotFound(
                f"no bundle in {models} can be loaded; see `ethostream models list --models "
                f"{models}`"
            )
        yield LocalAnalyzer(runtime, names or loaded)


@asynccontextmanager
async def open_remote(client: AsyncClient, names: Sequence[str]) -> AsyncIterator[RemoteAnalyzer]:
    """Use bundles of a server: those named, or all that are ready."""
    async with client:
        if names:
            yield RemoteAnalyzer(client, [await client.model(name) for name in names])
            return
        ready = [one for one in await client.models() if one.state == "ready"]
        newest = {one.bundle.name: one for one in ready}
        if not newest:
            raise BundleNotFound(f"the server at {client.address} has no bundle loaded; load one")
        yield RemoteAnalyzer(client, list(newest.values()))


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


def _from_info(info: BundleInfo, stride: int = 1) -> AnsweredBundle:
    return describe_bundle(
        BundleVersion(info.bundle.name, info.bundle.version),
        manifest_sha256=info.manifest_sha256,
        engine=info.engine,
        precision=info.precision,
        pose=info.pose,
        behavior=info.behavior,
        stride=stride,
    )

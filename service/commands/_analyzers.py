"""The two places where `analyze` can compute: this process, or a server."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from ethostream import AsyncClient, BundleInfo, Crop
from ethostream import DynamicCrop as ClientDynamicCrop
from ethostream import EthostreamError as ClientError

from service.config import ServiceConfig
from service.errors import BundleNotFound, InvalidRequest, RemoteFailed
from service.jobs.analyzer import Finished, LocalAnalyzer, Resume, Started
from service.results import AnsweredBundle, RequestOptions
from service.results.provenance import describe_bundle
from service.results.video_results import ChunkLike
from service.runtime import local_runtime
from service.values import BundleVersion, VideoInfo
from service.video.pictures import PictureList


class RemoteAnalyzer:
    """Uploads each video to a server, which computes."""

    def __init__(self, client: AsyncClient, bundles: Sequence[BundleInfo]) -> None:
        self._client = client
        self.bundles = tuple(_from_info(one) for one in bundles)
        self._names = [str(one.key) for one in self.bundles]

    def can_resume(self, options: RequestOptions) -> bool:
        """See `Analyzer`: a server does not take the poses that a dynamic crop began with."""
        return options.dynamic_crop is None

    async def analyze(
        self, video: Path | PictureList, options: RequestOptions, resume: Resume | None = None
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
            resume_frame=resume.frame_index if resume else 0,
            frame_limit=options.frame_limit,
            frame_rate_hz=options.frame_rate_hz,
            dynamic_crop=None
            if follow is None
            else ClientDynamicCrop(margin_px=follow.margin_px, max_zoom=follow.max_zoom),
        )
        async with aclosing(analysis), _told_as_ours():
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
async def _told_as_ours() -> AsyncIterator[None]:
    """Turn an error of the client into one that is told as those of this process are."""
    try:
        yield
    except ClientError as error:
        raise RemoteFailed(str(error)) from error


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

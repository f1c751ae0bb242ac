"""The asynchronous client: streams, sessions, analyses, uploads, models, jobs of one server."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from ethostream import messages
from ethostream._shared_memory import SharedMemory
from ethostream._status import StatusRecord
from ethostream.analysis import AsyncAnalysis, VideoResults
from ethostream.channel import TlsOptions, open_channel
from ethostream.errors import InvalidRequest, ServerFailed, from_rpc_error
from ethostream.frames import MAX_MESSAGE_BYTES, crop_region
from ethostream.jobs import AsyncJobs
from ethostream.live import AsyncLiveStream
from ethostream.options import StreamOptions
from ethostream.session import AsyncFrameSession
from ethostream.triggers import Trigger
from ethostream.v1 import inference_service_pb2 as inference_pb
from ethostream.v1 import inference_service_pb2_grpc as inference_grpc
from ethostream.v1 import job_service_pb2_grpc as job_grpc
from ethostream.v1 import model_service_pb2 as model_pb
from ethostream.v1 import model_service_pb2_grpc as model_grpc
from ethostream.values import (
    BundleInfo,
    Bundles,
    Color,
    Crop,
    DynamicCrop,
    ForwardPrediction,
    Freshness,
    Upload,
)

_Response = TypeVar("_Response")

_UPLOAD_PIECE_BYTES = 1 << 20  # the server takes 4 MiB; 1 MiB already fills a fast network


class AsyncClient:
    """A connection to a server, for one event loop; it connects with the first call.

    Use it with `async with`, or call `close` at the end.

    Args:
        address: HOST:PORT of the server, or unix:PATH of its socket.
        token: Sent with every call as `authorization: Bearer ...`; give `tls` too on a network.
        tls: How to reach a server over TLS; None = without.
        max_message_bytes: Largest message in either direction.
        keepalive_seconds: A dead connection is noticed this long after the last traffic, plus
            10 s; 0 = leave it to TCP.
        timeout_seconds: Longest wait for the answer of a single call; streams are not limited.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        token: str | None = None,
        tls: TlsOptions | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        keepalive_seconds: float = 30.0,
        timeout_seconds: float = 60.0,
    ) -> None:
        self.address = address
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._keepalive_seconds = keepalive_seconds
        self._timeout_seconds = timeout_seconds
        self._channel: grpc.aio.Channel | None = None

    def stream(
        self,
        bundles: Bundles,
        *,
        freshness: Freshness = "all",
        max_age_ms: int = 0,
        max_frames_in_flight: int = 0,
        frame_rate_hz: float = 0.0,
        crop: Crop | None = None,
        camera: str = "",
        color: Color = "rgb",
        reconnect: bool = True,
        reconnect_seconds: float = 60.0,
        dynamic_crop: DynamicCrop | None = None,
        triggers: Sequence[Trigger] = (),
        prediction: ForwardPrediction | None = None,
        shared_memory: SharedMemory = False,
    ) -> AsyncLiveStream:
        """A live stream of one camera; enter it with `async with`.

        Args:
            bundles: Bundles to run on every frame, at least one.
            freshness: "all" answers every frame and slows `send` down; "latest" leaves out frames
                that newer ones overtake; "deadline" those that waited longer than `max_age_ms`.
            max_age_ms: "deadline": longest wait of a frame, ms.
            max_frames_in_flight: Frames to have in flight; 0 = the server's default.
            frame_rate_hz: Rate of the camera; 0 = the behavior bundles' own.
            crop: Part of every frame that the models look at.
            camera: Name of the camera for logs and metrics.
            color: Channel order of (H, W, 3) images.
            reconnect: Connect again after a break, with growing waits; frames that were in flight
                are answered as lost, and numbers go on.
            reconnect_seconds: Give up when this long without connection.
            dynamic_crop: Crop each frame around the animal, within `crop`, where it was in the
                newest frame that is answered; each `PoseResult` tells the crop that was used.
            triggers: Events to wait for, at most 32: `TriggerEvent` among the answers.
            prediction: Say where the keypoints will be: `PoseResult.predicted_xy`.
            shared_memory: Hand raw images to a server on this machine through memory instead of
                messages; it refuses where it cannot read it. "auto": where it can. Linux only.

        Raises:
            InvalidRequest: An option is outside its range.
        """
        options = StreamOptions(
            bundles=bundles,
            freshness=freshness,
            max_age_ms=max_age_ms,
            max_frames_in_flight=max_frames_in_flight,
            frame_rate_hz=frame_rate_hz,
            crop=crop,
            camera=camera,
            color=color,
            reconnect=reconnect,
            reconnect_seconds=reconnect_seconds,
            max_message_bytes=self._max_message_bytes,
            dynamic_crop=dynamic_crop,
            triggers=triggers,
            prediction=prediction,
            shared_memory=shared_memory,
        )
        return AsyncLiveStream(
            lambda requests: self._inference().StreamFrames(requests, metadata=self._metadata),
            options,
            self.address,
        )

    def session(
        self,
        bundles: Bundles,
        *,
        frame_rate_hz: float = 0.0,
        crop: Crop | None = None,
        camera: str = "",
        color: Color = "rgb",
        dynamic_crop: DynamicCrop | None = None,
        triggers: Sequence[Trigger] = (),
        prediction: ForwardPrediction | None = None,
    ) -> AsyncFrameSession:
        """A session of single calls: simpler than a stream, and about half as fast.

        The arguments are those of `stream`.

        Raises:
            InvalidRequest: An option is outside its range.
        """
        options = StreamOptions(
            bundles=bundles,
            frame_rate_hz=frame_rate_hz,
            crop=crop,
            camera=camera,
            color=color,
            max_message_bytes=self._max_message_bytes,
            dynamic_crop=dynamic_crop,
            triggers=triggers,
            prediction=prediction,
        )
        return AsyncFrameSession(
            lambda request: self._answer(self._inference().AnalyzeFrame, request), options
        )

    def analyze(
        self,
        path: str | None = None,
        *,
        bundles: Bundles,
        upload: Path | str | None = None,
        upload_id: str = "",
        crop: Crop | None = None,
        first_frame: int = 0,
        frame_limit: int = 0,
        frames_per_chunk: int = 0,
        frame_rate_hz: float = 0.0,
        dynamic_crop: DynamicCrop | None = None,
        resume_frame: int = 0,
    ) -> AsyncAnalysis:
        """Analyze a video; iterate over the answer for its result chunks.

        Args:
            path: A path on the server, below one of its roots; or give one of the next two.
            upload: A file on this machine, uploaded first.
            upload_id: An earlier upload.
            bundles: Bundles to run on every frame, at least one.
            crop: Part of every frame that the models look at.
            first_frame: First frame to analyze; behavior context begins here.
            frame_limit: Number of frames to analyze; 0 = up to the end.
            frames_per_chunk: Frames in a result chunk; 0 = the server's default.
            frame_rate_hz: Rate to assume where the container's is wrong; 0 = the container's.
            dynamic_crop: Crop each frame around the animal, within `crop`, where it was in the
                frame before.
            resume_frame: Go on with an analysis that broke off: rows before this frame are there
                already. Not with `dynamic_crop`.

        Raises:
            InvalidRequest: Not exactly one source is given, or an option is outside its range.
        """
        if sum(map(bool, (path, upload, upload_id))) != 1:
            raise InvalidRequest("give exactly one of path, upload and upload_id")
        if min(first_frame, resume_frame, frame_limit, frames_per_chunk) < 0:
            raise InvalidRequest(
                "first_frame, resume_frame, frame_limit and frames_per_chunk are 0 or more"
            )
        request = inference_pb.AnalyzeVideoRequest(
            bundles=messages.selections(bundles),
            first_frame=first_frame,
            resume_frame=resume_frame,
            frame_limit=frame_limit,
            frames_per_chunk=frames_per_chunk,
            frame_rate_hz=messages.frame_rate(frame_rate_hz),
        )
        if crop is not None:
            request.crop.CopyFrom(crop_region(crop))
        if dynamic_crop is not None:
            request.dynamic_crop.CopyFrom(messages.dynamic_crop(dynamic_crop))
        if path:
            request.path = path
        elif upload_id:
            request.upload_id = upload_id
        return AsyncAnalysis(self._analyze(request, Path(upload) if upload else None))

    async def analyze_all(
        self,
        path: str | None = None,
        *,
        bundles: Bundles,
        upload: Path | str | None = None,
        upload_id: str = "",
        crop: Crop | None = None,
        first_frame: int = 0,
        frame_limit: int = 0,
        frame_rate_hz: float = 0.0,
        dynamic_crop: DynamicCrop | None = None,
    ) -> VideoResults:
        """Analyze a video and gather all its results; the arguments are those of `analyze`."""
        analysis = self.analyze(
            path,
            bundles=bundles,
            upload=upload,
            upload_id=upload_id,
            crop=crop,
            first_frame=first_frame,
            frame_limit=frame_limit,
            frame_rate_hz=frame_rate_hz,
            dynamic_crop=dynamic_crop,
        )
        return await VideoResults.gather(analysis)

    async def upload(self, path: Path | str) -> Upload:
        """Upload a video file, to analyze it by the id of the answer.

        Raises:
            InvalidRequest: The file cannot be read.
            ServerFailed: The server received other bytes than were sent.
        """
        file = Path(path)
        try:
            opened = await asyncio.to_thread(file.open, "rb")
        except OSError as error:
            raise InvalidRequest(f"cannot read {file}: {error.strerror}") from error
        digest = hashlib.sha256()

        async def pieces() -> AsyncIterator[inference_pb.UploadVideoRequest]:
            size_bytes = os.fstat(opened.fileno()).st_size
            start = inference_pb.UploadStart(filename=file.name, size_bytes=size_bytes)
            yield inference_pb.UploadVideoRequest(start=start)
            while data := await asyncio.to_thread(opened.read, _UPLOAD_PIECE_BYTES):
                digest.update(data)
                yield inference_pb.UploadVideoRequest(data=data)

        with opened:
            call = self._inference().UploadVideo(pieces(), metadata=self._metadata)
            record = StatusRecord(call, self.address)
            try:
                response = await call
            except grpc.aio.AioRpcError as error:
                raise await record.error(error) from error
        if response.sha256 != digest.hexdigest():
            raise ServerFailed(
                f"the server received {file.name} with SHA-256 {response.sha256}, sent was "
                f"{digest.hexdigest()}; upload it again"
            )
        return Upload(response.upload_id, response.size_bytes, response.sha256)

    async def models(self) -> tuple[BundleInfo, ...]:
        """All bundles of the server, loaded or not, by name and version."""
        response = await self._answer(self._models().ListModels, model_pb.ListModelsRequest())
        return tuple(messages.bundle_info(model) for model in response.models)

    async def model(self, name: str, version: int = 0) -> BundleInfo:
        """One bundle with its card and parity report.

        Args:
            name: Its name, or name@version.
            version: 0 = the highest that is loaded, or else the highest stored.
        """
        response = await self._answer(
            self._models().GetModel,
            model_pb.GetModelRequest(bundle=messages.reference(name, version)),
        )
        return messages.bundle_info(response.model)

    async def load(
        self, name: str, version: int = 0, *, timeout_seconds: float = 600.0
    ) -> BundleInfo:
        """Load a bundle beside those that run, and wait until it answers requests.

        Args:
            name: Its name, or name@version.
            version: 0 = the highest in the model folder, which is read anew.
            timeout_seconds: Longest wait; compiling for a device may take minutes.
        """
        response = await self._answer(
            self._models().LoadModel,
            model_pb.LoadModelRequest(bundle=messages.reference(name, version)),
            timeout_seconds,
        )
        return messages.bundle_info(response.model)

    async def unload(self, name: str, version: int = 0) -> tuple[BundleInfo, ...]:
        """Take a bundle out of service; streams that began with it keep it until they end.

        Args:
            name: Its name, or name@version.
            version: 0 = all loaded versions.
        """
        response = await self._answer(
            self._models().UnloadModel,
            model_pb.UnloadModelRequest(bundle=messages.reference(name, version)),
        )
        return tuple(messages.bundle_info(model) for model in response.models)

    async def watch(self) -> AsyncGenerator[BundleInfo, None]:
        """Every bundle as it is now, then each change, until the caller stops iterating."""
        call = self._models().WatchModels(model_pb.WatchModelsRequest(), metadata=self._metadata)
        try:
            async for response in call:
                yield messages.bundle_info(response.model)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        finally:
            call.cancel()

    @property
    def jobs(self) -> AsyncJobs:
        """The archive jobs of the server."""
        return AsyncJobs(self._answer, self._open_jobs, self._metadata, self.address)

    async def close(self) -> None:
        """Close the connection; streams that still run are broken."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> "AsyncClient":
        """Give the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()

    async def _analyze(
        self, request: inference_pb.AnalyzeVideoRequest, upload: Path | None
    ) -> AsyncGenerator[inference_pb.AnalyzeVideoResponse, None]:
        if upload is not None:
            request.upload_id = (await self.upload(upload)).upload_id
        call = self._inference().AnalyzeVideo(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        finally:
            call.cancel()

    async def _answer(
        self,
        method: Callable[..., Awaitable[_Response]],
        request: Message,
        timeout_seconds: float | None = None,
    ) -> _Response:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return await method(request, metadata=self._metadata, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:  # here and not in __init__: it belongs to the running loop
            self._channel = open_channel(
                self.address,
                tls=self._tls,
                max_message_bytes=self._max_message_bytes,
                keepalive_seconds=self._keepalive_seconds,
            )
        return self._channel

    def _inference(self) -> "inference_grpc.InferenceServiceAsyncStub":
        return inference_grpc.InferenceServiceStub(self._open())

    def _models(self) -> "model_grpc.ModelServiceAsyncStub":
        return model_grpc.ModelServiceStub(self._open())

    def _open_jobs(self) -> "job_grpc.JobServiceAsyncStub":
        return job_grpc.JobServiceStub(self._open())

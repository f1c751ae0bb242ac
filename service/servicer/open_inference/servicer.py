"""GRPCInferenceService: the protocol's methods; each looks up, asks and has the answer written."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray

from service import metrics
from service.errors import BundleNotFound, EthostreamError, InvalidRequest, ServerFailed
from service.frame_requests import FrameRequests, RequestTimings
from service.preparation import INLINE_BYTES
from service.repository import LoadedBundle
from service.runtime import Runtime
from service.servicer.admission import Admission
from service.servicer.open_inference import models, tensors
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.servicer.open_inference import open_inference_pb2_grpc as pb2_grpc
from service.servicer.open_inference.statistics import Statistics
from service.version import program_version

if TYPE_CHECKING:  # the class takes no parameters at run time
    Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger("ethostream.open_inference")

_StreamAnswer = asyncio.Task[pb2.ModelStreamInferResponse]
_EXTENSIONS = ("model_repository", "model_configuration", "statistics")


class OpenInferenceServicer(pb2_grpc.GRPCInferenceServiceServicer):
    """Translates and delegates to the repository and to `FrameRequests`."""

    def __init__(self, runtime: Runtime, admission: Admission) -> None:
        self._repository = runtime.repository
        self._batch_sizes = runtime.scheduler.batch_sizes
        self._admission = admission
        self._threads = runtime.threads
        self._requests = FrameRequests(runtime.scheduler, runtime.config.session, runtime.threads)
        self._statistics = Statistics()

    async def ServerLive(
        self, request: pb2.ServerLiveRequest, context: "Context"
    ) -> pb2.ServerLiveResponse:
        """Answer, which says all."""
        return pb2.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: pb2.ServerReadyRequest, context: "Context"
    ) -> pb2.ServerReadyResponse:
        """Say whether the server takes work, as the health service does."""
        return pb2.ServerReadyResponse(ready=not self._admission.draining.is_set())

    async def ModelReady(
        self, request: pb2.ModelReadyRequest, context: "Context"
    ) -> pb2.ModelReadyResponse:
        """Say whether a model answers."""
        try:
            self._get(request.name, request.version)
        except BundleNotFound:
            return pb2.ModelReadyResponse(ready=False)
        return pb2.ModelReadyResponse(ready=not self._admission.draining.is_set())

    async def ServerMetadata(
        self, request: pb2.ServerMetadataRequest, context: "Context"
    ) -> pb2.ServerMetadataResponse:
        """Name the server."""
        return pb2.ServerMetadataResponse(
            name="ethostream", version=program_version(), extensions=_EXTENSIONS
        )

    async def ModelMetadata(
        self, request: pb2.ModelMetadataRequest, context: "Context"
    ) -> pb2.ModelMetadataResponse:
        """Show a model's tensors."""
        loaded = self._get(request.name, request.version)
        versions = [one.key.version for one in self._loaded(loaded.key.name)]
        return models.to_metadata(loaded, versions)

    async def ModelConfig(
        self, request: pb2.ModelConfigRequest, context: "Context"
    ) -> pb2.ModelConfigResponse:
        """Show a model's configuration."""
        config = models.to_config(
            self._get(request.name, request.version),
            max_frames=self._requests.max_frames,
            batch_sizes=self._batch_sizes,
        )
        return pb2.ModelConfigResponse(config=config)

    async def ModelStatistics(
        self, request: pb2.ModelStatisticsRequest, context: "Context"
    ) -> pb2.ModelStatisticsResponse:
        """Show what was asked of one version, of all of a name, or of all that is loaded."""
        if request.version or request.name:
            self._get(request.name, request.version)
        keys = [
            one.key
            for one in self._loaded(request.name)
            if not request.version or one.key.version == int(request.version)
        ]
        return pb2.ModelStatisticsResponse(model_stats=self._statistics.messages(keys))

    async def ModelInfer(
        self, request: pb2.ModelInferRequest, context: "Context"
    ) -> pb2.ModelInferResponse:
        """Answer one request."""
        with self._admission.entered():
            return await self._infer(request)

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb2.ModelInferRequest], context: "Context"
    ) -> AsyncIterator[pb2.ModelStreamInferResponse]:
        """Answer requests side by side, in their order; one that fails does not end the others."""
        room = asyncio.Semaphore(self._requests.max_frames)  # frames that may be in flight
        begun: asyncio.Queue[tuple[_StreamAnswer, int] | None] = asyncio.Queue()  # by the room
        answers: set[_StreamAnswer] = set()

        async def read() -> None:
            try:
                async for request in request_iterator:
                    frames = self._frames_of(request)
                    for _ in range(frames):
                        await room.acquire()
                    answer = asyncio.create_task(self._infer_in_stream(request))
                    answers.add(answer)
                    answer.add_done_callback(answers.discard)
                    begun.put_nowait((answer, frames))
            finally:
                begun.put_nowait(None)

        with self._admission.entered(), metrics.STREAMS_OPEN.track_inprogress():
            reader = asyncio.create_task(read())
            try:
                while (one := await begun.get()) is not None:
                    yield await one[0]
                    for _ in range(one[1]):
                        room.release()
                await reader
            finally:
                left = (reader, *answers)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    async def RepositoryIndex(
        self, request: pb2.RepositoryIndexRequest, context: "Context"
    ) -> pb2.RepositoryIndexResponse:
        """List all bundles."""
        await self._repository.scan()
        found = [models.to_index(one) for one in self._repository.statuses()]
        return pb2.RepositoryIndexResponse(
            models=[one for one in found if one.state == "READY" or not request.ready]
        )

    async def RepositoryModelLoad(
        self, request: pb2.RepositoryModelLoadRequest, context: "Context"
    ) -> pb2.RepositoryModelLoadResponse:
        """Load the highest version."""
        if request.parameters:
            raise InvalidRequest(
                f"the request has the parameters {', '.join(sorted(request.parameters))}, but a "
                "bundle is loaded as it is; leave them out, and put a changed bundle into the "
                "model folder as a new version"
            )
        await self._repository.load(request.model_name)
        return pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb2.RepositoryModelUnloadRequest, context: "Context"
    ) -> pb2.RepositoryModelUnloadResponse:
        """Take all versions out of service."""
        await self._repository.unload(request.model_name)
        return pb2.RepositoryModelUnloadResponse()

    async def _infer_in_stream(
        self, request: pb2.ModelInferRequest
    ) -> pb2.ModelStreamInferResponse:
        try:
            self._admission.refuse_while_draining()
            response = await self._infer(request)
        except EthostreamError as error:
            return pb2.ModelStreamInferResponse(
                error_message=f"{error.status}: {error}",
                infer_response=pb2.ModelInferResponse(id=request.id),
            )
        response.parameters["triton_final_response"].bool_param = True
        return pb2.ModelStreamInferResponse(infer_response=response)

    async def _infer(self, request: pb2.ModelInferRequest) -> pb2.ModelInferResponse:
        loaded = self._get(request.model_name, request.model_version)
        begun = time.perf_counter()
        try:
            wanted = tensors.wanted_outputs(request, models.output_names(loaded.bundle.manifest))
            frames = await self._read_frames(request)
            outputs, timings = await self._compute(loaded, frames)
            response = tensors.to_response(request, loaded.key, outputs, wanted)
        except EthostreamError:
            self._statistics.failed(loaded.key, time.perf_counter() - begun)
            raise
        except Exception as error:  # a bug must have a status and a trace
            log.exception("request failed", model=str(loaded.key), id=request.id)
            self._statistics.failed(loaded.key, time.perf_counter() - begun)
            raise ServerFailed(f"the request {request.id!r}", "request failed") from error
        seconds = time.perf_counter() - begun
        self._statistics.succeeded(loaded.key, len(frames), seconds, timings)
        return response

    async def _read_frames(self, request: pb2.ModelInferRequest) -> NDArray[np.uint8]:
        shape = tensors.read_shape(request)
        self._requests.check(shape)
        if request.raw_input_contents or math.prod(shape) <= INLINE_BYTES:
            return tensors.read_frames(request, shape)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, tensors.read_frames, request, shape)

    async def _compute(
        self, loaded: LoadedBundle, frames: NDArray[np.uint8]
    ) -> tuple[dict[str, NDArray[Any]], RequestTimings]:
        behavior = loaded.bundle.manifest.behavior
        if behavior is None:
            poses, timings = await self._requests.poses(loaded, frames)
            return tensors.pose_outputs(poses), timings
        answers, timings = await self._requests.behavior(loaded, frames)
        return tensors.behavior_outputs(answers, len(behavior.behaviors)), timings

    def _frames_of(self, request: pb2.ModelInferRequest) -> int:
        """Frames that a request says to hold, as far as they may be: it is not checked yet."""
        claimed = request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 1
        return min(max(claimed, 1), self._requests.max_frames)

    def _get(self, name: str, version: str) -> LoadedBundle:
        if version and (not version.isdecimal() or len(version) > 9 or int(version) < 1):
            raise InvalidRequest(
                f"the version {version!r} of {name!r} is no whole number from 1; leave it empty "
                "for the highest that is loaded"
            )
        return self._repository.get(name, int(version or 0))

    def _loaded(self, name: str) -> list[LoadedBundle]:
        return [one for one in self._repository.loaded() if name in ("", one.key.name)]

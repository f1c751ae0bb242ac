"""ModelService: look at, load, unload and watch the bundles of the repository."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
from ethostream.v1 import model_service_pb2 as pb2
from ethostream.v1 import model_service_pb2_grpc as pb2_grpc

from service.repository import Repository
from service.servicer.bundle_info import from_status

if TYPE_CHECKING:  # the class takes no parameters at run time
    Context = grpc.aio.ServicerContext[Any, Any]


class ModelServicer(pb2_grpc.ModelServiceServicer):
    """Translates and delegates to the repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def ListModels(
        self, request: pb2.ListModelsRequest, context: "Context"
    ) -> pb2.ListModelsResponse:
        """List all bundles, loaded or not."""
        await self._repository.scan()
        return pb2.ListModelsResponse(
            models=[from_status(one) for one in self._repository.statuses()]
        )

    async def GetModel(
        self, request: pb2.GetModelRequest, context: "Context"
    ) -> pb2.GetModelResponse:
        """Show one bundle with its documents."""
        await self._repository.scan()
        status = self._repository.status(request.bundle.name, request.bundle.version)
        return pb2.GetModelResponse(model=from_status(status, documents=True))

    async def LoadModel(
        self, request: pb2.LoadModelRequest, context: "Context"
    ) -> pb2.LoadModelResponse:
        """Load a version beside those that run."""
        loaded = await self._repository.load(request.bundle.name, request.bundle.version)
        status = self._repository.status(loaded.key.name, loaded.key.version)
        return pb2.LoadModelResponse(model=from_status(status))

    async def UnloadModel(
        self, request: pb2.UnloadModelRequest, context: "Context"
    ) -> pb2.UnloadModelResponse:
        """Take a version out of service."""
        statuses = await self._repository.unload(request.bundle.name, request.bundle.version)
        return pb2.UnloadModelResponse(models=[from_status(one) for one in statuses])

    async def WatchModels(
        self, request: pb2.WatchModelsRequest, context: "Context"
    ) -> AsyncIterator[pb2.WatchModelsResponse]:
        """Send every bundle, then each change."""
        async for status in self._repository.watch():
            yield pb2.WatchModelsResponse(model=from_status(status))

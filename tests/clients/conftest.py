"""A server that misbehaves on purpose, so that breaks happen when a test wants them.

What a server does right is tested against the real one, in tests/e2e.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from ethostream.v1 import behavior_pb2, bundle_pb2, pose_pb2
from ethostream.v1 import inference_service_pb2 as pb
from ethostream.v1 import inference_service_pb2_grpc as pb_grpc

Requests = AsyncIterator[pb.StreamFramesRequest]
Context = grpc.aio.ServicerContext
Script = Callable[[Requests, Context], AsyncIterator[pb.StreamFramesResponse]]

POSE = bundle_pb2.BundleInfo(
    bundle=bundle_pb2.BundleReference(name="mouse", version=2),
    task=bundle_pb2.TASK_POSE,
    pose=bundle_pb2.PoseModel(keypoints=["snout", "tail"], max_animals=1),
)
BEHAVIOR = bundle_pb2.BundleInfo(
    bundle=bundle_pb2.BundleReference(name="cage", version=1),
    task=bundle_pb2.TASK_BEHAVIOR,
    behavior=bundle_pb2.BehaviorModel(behaviors=["rest", "rear", "groom"]),
)


def started(*, credit_count: int = 2, session: str = "s1") -> pb.StreamFramesResponse:
    """The agreement to a stream of one pose and one behavior bundle."""
    return pb.StreamFramesResponse(
        started=pb.StreamStarted(
            session_id=session, bundles=[POSE, BEHAVIOR], credits=credit_count, strides=[1, 1]
        )
    )


def result(frame_index: int) -> pb.StreamFramesResponse:
    """A result whose first keypoint is at (frame_index, frame_index + 0.5)."""
    pose = pose_pb2.Pose(x_px=[frame_index, 7], y_px=[frame_index + 0.5, 8], confidence=[0.25, 0.5])
    poses = [pose_pb2.PoseResult(bundle=POSE.bundle, poses=[pose])]
    return pb.StreamFramesResponse(
        outcome=pb.FrameOutcome(
            frame_index=frame_index,
            capture_time_ns=frame_index * 10,
            arrival_time_ns=1,
            result=pb.FrameResult(poses=poses),
            timings=pb.StageTimings(engine_ns=5, total_ns=9, batch_size=1),
        )
    )


def behavior(frame_index: int) -> pb.StreamFramesResponse:
    """A behavior result."""
    return pb.StreamFramesResponse(
        behavior=behavior_pb2.BehaviorResult(
            bundle=BEHAVIOR.bundle,
            frame_index=frame_index,
            status=behavior_pb2.BEHAVIOR_STATUS_OK,
            probabilities=[0.5, 0.25, 0.75],
            present=[False, False, True],
        )
    )


def ended() -> pb.StreamFramesResponse:
    """The last message."""
    return pb.StreamFramesResponse(ended=pb.StreamEnded())


async def frames(requests: Requests) -> AsyncIterator[int]:
    """Numbers of the frames of a stream, after its start."""
    async for request in requests:
        if request.WhichOneof("request") == "frame":
            yield request.frame.frame_index


async def answer_all(
    requests: Requests, context: Context
) -> AsyncIterator[pb.StreamFramesResponse]:
    """Answer every frame, as a good server does; behavior comes one frame later."""
    yield started(session="good")
    last = None
    async for frame_index in frames(requests):
        yield result(frame_index)
        if last is not None:
            yield behavior(last)
        last = frame_index
    if last is not None:
        yield behavior(last)
    yield ended()


@dataclass
class ScriptedServer(pb_grpc.InferenceServiceServicer):
    """Plays one script a connection, the last one again and again."""

    scripts: list[Script]
    starts: list[pb.StreamStart] = field(default_factory=list)
    address: str = ""
    upload: Callable[..., Awaitable[pb.UploadVideoResponse]] | None = None

    async def StreamFrames(
        self, request_iterator: Requests, context: Context
    ) -> AsyncIterator[pb.StreamFramesResponse]:
        script = self.scripts[min(len(self.starts), len(self.scripts) - 1)]
        first = await anext(request_iterator)
        self.starts.append(first.start)
        async for response in script(request_iterator, context):
            yield response

    async def AnalyzeFrame(self, request, context):
        raise NotImplementedError

    async def UploadVideo(self, request_iterator, context):
        return await self.upload(request_iterator, context)

    async def UploadChunk(self, request, context):
        raise NotImplementedError

    async def AnalyzeVideo(self, request, context):
        raise NotImplementedError


@asynccontextmanager
async def serving(*scripts: Script, port: int = 0) -> AsyncIterator[ScriptedServer]:
    """Serve these scripts on a loopback port."""
    servicer = ScriptedServer(list(scripts))
    server = grpc.aio.server()
    pb_grpc.add_InferenceServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(grace=0)


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect after milliseconds."""
    from ethostream import _reconnect, backoff

    monkeypatch.setattr(_reconnect, "Backoff", lambda: backoff.Backoff(0.01, 0.05))

"""Records the test vectors of all clients: `python -m clients.testdata.record`; see README.md."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from ethostream.v1 import inference_service_pb2, model_service_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

FOLDER = Path(__file__).resolve().parent
MODELS = FOLDER / "models"
CASES = FOLDER / "cases"
POSE, BEHAVIOR = "vector-points", "vector-motion"
SESSION, UPLOAD = "SESSION", "UPLOAD"
"""Stand in requests and responses for the ids that a server gives."""

Scene = tuple[str, str, Sequence[Message]]
"""Name of a case, its method such as ethostream.v1.ModelService/ListModels, its requests."""

_FILES = (inference_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR)
_VOLATILE = ("arrival_time_ns", "timings", "latency_ns", "total_ns", "decoder")


async def call(
    channel: grpc.aio.Channel, method: str, requests: Sequence[Message]
) -> tuple[list[Message], str, str]:
    """Make one call of any kind.

    Args:
        channel: to the server.
        method: such as ethostream.v1.ModelService/ListModels.
        requests: one, or all of a client's stream.

    Returns:
        The responses, the name of the status, and the server's message.
    """
    descriptor = descriptor_of(method)
    kinds = ("unary", "stream")
    kind = f"{kinds[descriptor.client_streaming]}_{kinds[descriptor.server_streaming]}"
    invoke = getattr(channel, kind)(
        f"/{method}",
        request_serializer=type(requests[0]).SerializeToString,
        response_deserializer=GetMessageClass(descriptor.output_type).FromString,
    )
    answer = invoke(iter(requests) if descriptor.client_streaming else requests[0], timeout=60)
    responses: list[Message] = []
    try:
        if descriptor.server_streaming:
            responses.extend([response async for response in answer])
        else:
            responses.append(await answer)
    except grpc.aio.AioRpcError as error:
        return responses, error.code().name, error.details() or ""
    return responses, "OK", ""


def descriptor_of(method: str) -> Any:
    """The description of a method, such as ethostream.v1.ModelService/ListModels."""
    service, _, name = method.partition("/")
    for file in _FILES:
        found = file.services_by_name.get(service.rpartition(".")[2])
        if found is not None:
            return found.methods_by_name[name]
    raise KeyError(method)


def normalize(responses: Iterable[Message]) -> list[Message]:
    """Put ids aside, clear what no two runs share, and bring a live stream into one order."""
    ordered = sorted(responses, key=_order)
    for response in ordered:
        _clear(response)
    return ordered


def _order(response: Message) -> int:
    """Outcomes before behavior results: between the two kinds the order is left to chance."""
    kind = response.WhichOneof("response") if "response" in _oneofs(response) else ""
    return {"started": 0, "outcome": 1, "behavior": 2, "ended": 3, "finished": 3}.get(kind, 1)


def _oneofs(message: Message) -> list[str]:
    return [one.name for one in message.DESCRIPTOR.oneofs]


def _clear(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name in _VOLATILE:
            message.ClearField(field.name)
        elif field.name in ("session_id", "upload_id"):
            setattr(message, field.name, SESSION if field.name == "session_id" else UPLOAD)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for one in value if field.is_repeated else [value]:
                _clear(one)


def framed(messages: Iterable[Message]) -> bytes:
    """Messages one after the other, each after a zero and its length as gRPC sends them."""
    pieces = [message.SerializeToString(deterministic=True) for message in messages]
    return b"".join(struct.pack(">BI", 0, len(piece)) + piece for piece in pieces)


@asynccontextmanager
async def serving(models: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A server of ONNX Runtime in fp32, and a channel to it."""
    from service.config import ModelsConfig, ServerConfig, ServiceConfig
    from service.repository import EngineConfig
    from service.server import Server

    config = ServiceConfig(
        server=ServerConfig(listen="127.0.0.1:0", drain_seconds=1.0),
        models=ModelsConfig(directory=str(models)),
        engine=EngineConfig(engine="onnxruntime", precision="fp32", threads=1),
    )
    server = Server(config)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop()


async def record(models: Path, cases: Path, scenes: Iterable[Scene]) -> None:
    """Ask a server of `models` in the order of `scenes`, and write each case into `cases`."""
    ids: dict[str, str] = {}
    async with serving(models) as channel:
        for name, method, requests in scenes:
            # A client's stream is one call; of a method without one, each request is.
            streams = descriptor_of(method).client_streaming
            answered: list[Message] = []
            status = message = ""
            for sent in [requests] if streams else [[one] for one in requests]:
                answers, status, message = await call(
                    channel, method, [_with_ids(one, ids) for one in sent]
                )
                for answer in answers:
                    for stand_in in (SESSION, UPLOAD):
                        found = getattr(answer, f"{stand_in.lower()}_id", "")
                        ids |= {stand_in: found} if found else {}
                answered += normalize(answers)
            _write(cases, name, method, requests, answered, status, message)


def recorded_scenes(cases: Path) -> list[Scene]:
    """What the cases of a folder ask, by name: an upload comes before the video that it is."""
    scenes: list[Scene] = []
    for path in sorted(cases.glob("*.json")):
        content = json.loads(path.read_text())
        kind = GetMessageClass(descriptor_of(content["method"]).input_type)
        requests = [ParseDict(one, kind()) for one in content["requests"]]
        scenes.append((path.stem, content["method"], requests))
    return scenes


def _with_ids(request: Message, ids: dict[str, str]) -> Message:
    sent = type(request).FromString(request.SerializeToString())
    for stand_in, found in ids.items():
        if getattr(sent, name := f"{stand_in.lower()}_id", "") == stand_in:
            setattr(sent, name, found)
    return sent


def _write(
    cases: Path,
    name: str,
    method: str,
    requests: Sequence[Message],
    responses: Sequence[Message],
    status: str,
    message: str,
) -> None:
    content = {
        "method": method,
        "status": status,
        "message": message,
        "requests": [MessageToDict(one) for one in requests],
        "responses": [MessageToDict(one) for one in responses],
    }
    (cases / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (cases / f"{name}.requests.bin").write_bytes(framed(requests))
    (cases / f"{name}.responses.bin").write_bytes(framed(responses))


if __name__ == "__main__":
    from clients.testdata.bundles import write_bundles
    from clients.testdata.scenes import scenes

    write_bundles(MODELS)
    CASES.mkdir(exist_ok=True)
    asyncio.run(record(MODELS, CASES, scenes()))

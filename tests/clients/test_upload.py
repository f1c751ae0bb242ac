"""An upload arrives whole, or the error is the one that the server gave."""

import hashlib
from pathlib import Path

import grpc
import pytest
from ethostream import AsyncClient, errors
from ethostream.v1 import inference_service_pb2 as pb

from tests.clients.conftest import answer_all, serving

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several pieces


async def keep(requests, context) -> pb.UploadVideoResponse:
    """Take everything."""
    start = (await anext(requests)).start
    assert start.filename == "video.mp4"
    data = b"".join([request.data async for request in requests])
    assert len(data) == start.size_bytes
    digest = hashlib.sha256(data).hexdigest()
    return pb.UploadVideoResponse(upload_id="u1", size_bytes=len(data), sha256=digest)


async def damage(requests, context) -> pb.UploadVideoResponse:
    """Lose a byte."""
    answer = await keep(requests, context)
    answer.sha256 = hashlib.sha256(b"other").hexdigest()
    return answer


async def refuse(requests, context) -> pb.UploadVideoResponse:
    """Find after the first piece that the file is too large."""
    await anext(requests)
    await anext(requests)
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "over the limit of 1 MB")
    return pb.UploadVideoResponse()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(CONTENT)
    return path


async def test_an_upload_is_checked_against_what_was_sent(video: Path) -> None:
    async with serving(answer_all) as server, AsyncClient(server.address) as client:
        server.upload = keep
        upload = await client.upload(video)
        assert (upload.upload_id, upload.size_bytes) == ("u1", 10_240_000)
        assert upload.sha256 == hashlib.sha256(CONTENT).hexdigest()
        server.upload = damage
        with pytest.raises(errors.ServerFailed, match="upload it again"):
            await client.upload(video)


@pytest.mark.parametrize("attempt", range(5))
async def test_a_refusal_in_mid_upload_keeps_its_reason(video: Path, attempt: int) -> None:
    async with serving(answer_all) as server, AsyncClient(server.address) as client:
        server.upload = refuse
        with pytest.raises(errors.Overloaded, match="over the limit of 1 MB"):
            await client.upload(video)


async def test_a_file_that_is_not_there_is_told_before_connecting(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidRequest, match="no-such"):
        await AsyncClient("127.0.0.1:1").upload(tmp_path / "no-such.mp4")

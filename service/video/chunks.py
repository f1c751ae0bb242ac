"""Live H.264, HEVC and MJPEG streams in chunks, decoded in a worker process."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, replace

from service.errors import DecoderFailed
from service.values import VideoFrame
from service.video import messages
from service.video.base import ChunkCodec, VideoLimits, Wanted
from service.video.process import Worker, WorkerDied
from service.video.readers import to_error
from service.video.workers import DecodeWorkers


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """What came out of a chunk."""

    frames: list[VideoFrame]
    """In presentation order, numbered from the stream's start; pixels and inputs are the caller's
    own. A damaged picture is a frame of status CORRUPT without any."""
    packets_corrupt: int
    """Packets that could not be decoded, and damaged pictures."""
    message: str
    """On the first of them; empty without any."""


class ChunkDecoder:
    """One camera's encoded stream, decoded in a worker process of its own.

    The process starts with the first chunk. A packet is known to be whole when the next one
    begins, so a chunk of one picture yields it with the chunk after; `flush` gives the last ones.
    """

    def __init__(
        self,
        codec: ChunkCodec,
        *,
        wanted: Wanted | None = None,
        limits: VideoLimits | None = None,
        workers: DecodeWorkers | None = None,
        decoder: str = "auto",
    ) -> None:
        """Take the codec: h264 and hevc as Annex B byte streams, mjpeg as JPEGs in a row.

        Args:
            codec: of all chunks.
            wanted: RGB or gray pixels, or inputs of models; None takes RGB. A crop that is not
                inside a frame is left out.
            limits: the largest picture that is decoded.
            workers: pool that lends the process, which waits if it has none free; None starts
                a process apart.
            decoder: one of `DECODER_CHOICES`; all but nvcodec mean PyAV, which is here at once and
                holds no frame back, and MJPEG is PyAV's in any case.
        """
        name = "nvcodec" if decoder == "nvcodec" and codec != "mjpeg" else "pyav"
        wanted = wanted or Wanted()
        self._job = messages.OpenChunks(
            codec,
            wanted.color,
            limits or VideoLimits(),
            name,
            wanted.inputs,
            astuple(wanted.crop) if wanted.crop else None,
            wanted.on_device,
        )
        self._workers = workers
        self._worker: Worker | None = None
        self._stack = AsyncExitStack()
        self._closed = False

    async def feed(self, chunk: bytes, *, pts_ns: int = 0) -> DecodedChunk:
        """Decode the next bytes of the stream, cut anywhere.

        Args:
            chunk: the bytes.
            pts_ns: handed on with the frames whose packets begin here.

        Raises:
            DecoderFailed: the worker died or hung, or the decoder is closed; open another one.
            FrameTooLarge: a picture is over the limits.
        """
        return await self._feed(messages.Feed(chunk, pts_ns, last=False))

    async def flush(self) -> DecodedChunk:
        """End the stream: return the frames that were held back, and the worker."""
        if self._worker is None:
            return DecodedChunk([], 0, "")
        decoded = await self._feed(messages.Feed(b"", 0, last=True))
        await self.close()
        return decoded

    async def close(self) -> None:
        """Give the worker back; may be called at any time, also again."""
        self._closed = True
        worker, self._worker = self._worker, None
        if worker is not None and not worker.gone:
            await worker.leave_job()
        await self._stack.aclose()

    async def _feed(self, message: messages.Feed) -> DecodedChunk:
        if self._closed:
            raise DecoderFailed("this chunk decoder is closed; open another stream")
        worker = self._worker or await self._open()
        frames: list[VideoFrame] = []
        try:
            await worker.send_large(message)
            while True:
                answer = await worker.receive()
                if isinstance(answer, messages.Fed):
                    return DecodedChunk(frames, answer.packets_corrupt, answer.message)
                if isinstance(answer, messages.Failed):
                    raise to_error(answer)
                assert isinstance(answer, messages.Rows), "frames come before the end of a feed"
                frames += self._take(worker, answer.rows)
        except WorkerDied as death:
            raise DecoderFailed(
                f"{death} on a chunk of {len(message.data)} bytes; begin again with a key frame"
            ) from None
        except BaseException:
            await self.close()  # where in the stream the decoder is, is not known any more
            raise

    async def _open(self) -> Worker:
        workers = self._workers
        if workers is None:
            workers = await self._stack.enter_async_context(DecodeWorkers(1))
        worker = await self._stack.enter_async_context(workers.borrow(f"{self._job.codec} stream"))
        worker.send(self._job)
        self._worker = worker
        return worker

    def _take(self, worker: Worker, rows: Sequence[messages.Row]) -> list[VideoFrame]:
        if self._job.color is None:
            return worker.take(rows, has_pixels=False)
        frames = [
            one if one.pixels is None else replace(one, pixels=one.pixels.copy())
            for one in worker.take(rows, has_pixels=True)
        ]
        worker.free(*rows)
        return frames

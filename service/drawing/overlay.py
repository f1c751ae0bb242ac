"""The video with what was found in it, drawn and encoded by one process or by several.

The encoder begins anew after every `PIECE_ROWS` rows, so that pieces of a video can be encoded
apart from each other: with any number of workers the same pictures come out.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.drawing.painter import OverlayOptions, OverlayPainter
from service.engine import default_threads
from service.errors import DecoderFailed, EthostreamError, InvalidRequest
from service.results import VideoResults
from service.results.atomic import replacing
from service.video.pyav import VideoFile

PIECE_ROWS = 1000
"""About half a minute: beginning anew costs a key frame, and the encoder makes one as often."""

_CLOCK = Fraction(1, 90_000)  # fine enough for any frame rate, and MP4's usual one
# No frame refers to a later one, so that pieces follow each other without a change of times. Two
# threads: one encodes while the next frame is painted, and their number changes the pictures.
_ENCODER = {"crf": "22", "preset": "superfast", "bf": "0", "threads": "2"}
_MP4 = {"movie_timescale": str(_CLOCK.denominator)}  # else the first frame's time is in ms
_REPORTED_FRAMES = 16  # a message of each frame would cost more than it tells


def draw_overlay(
    video: Path,
    results: VideoResults,
    out: Path,
    options: OverlayOptions | None = None,
    *,
    workers: int = 1,
    on_frame: Callable[[int], None] | None = None,
) -> int:
    """Write `out`, an MP4 (H.264) of the frames that have results, with their own times.

    Small videos are enlarged by a whole factor, so that the text below stays readable.

    Args:
        video: the file that the results are of.
        results: what was found.
        out: file to write.
        options: how it looks.
        workers: processes that draw and encode a part each; 0: one a core. A part has at least
            `PIECE_ROWS` rows, so that short videos need one. Each reads the file by itself.
        on_frame: called with the number of frames drawn so far.

    Returns:
        The number of frames drawn; those without pixels are left out.

    Raises:
        InvalidRequest: a negative number of workers.
        InvalidVideo: the video cannot be read any more.
        DecoderFailed: a worker died.
    """
    if workers < 0:
        raise InvalidRequest(f"there are {workers} workers; give at least 1, or 0 for one a core")
    task = _Task(video, results, options or OverlayOptions(), PIECE_ROWS)
    limits = task.share(workers or default_threads())
    show = on_frame or _ignore
    with replacing(out) as unfinished:
        if len(limits) == 2:
            return _draw_rows(task, unfinished, "mp4", (0, len(results)), show)
        with tempfile.TemporaryDirectory(prefix=".overlay.", dir=out.parent) as folder:
            parts = {
                Path(folder) / f"{place:04d}": rows for place, rows in enumerate(pairwise(limits))
            }
            counts = _draw_in_workers(task, parts, show)
            drawn = [part for part, count in zip(parts, counts, strict=True) if count]
            if not drawn:
                return _draw_rows(task, unfinished, "mp4", (0, 0), show)
            _join(drawn, unfinished)  # a part without a frame is no video
    return sum(counts)


@dataclass(frozen=True, slots=True)
class _Task:
    """What is drawn, as every worker gets it."""

    video: Path
    results: VideoResults
    options: OverlayOptions
    piece_rows: int

    def share(self, workers: int) -> list[int]:
        """Limits of the rows of each worker: whole pieces, shared out evenly."""
        rows = len(self.results)
        pieces = -(-rows // self.piece_rows)
        shares = max(1, min(workers, pieces))
        return [
            min(rows, pieces * place // shares * self.piece_rows) for place in range(shares + 1)
        ]


def _draw_rows(
    task: _Task,
    out: Path,
    container: str,
    rows: tuple[int, int],
    on_frame: Callable[[int], None],
) -> int:
    """Draw the rows from the first to before the second number into one file."""
    source, results = VideoFile(task.video), task.results
    painter = OverlayPainter(results, source.shape, task.options)
    ticks = _rising_ticks(results.pts_ns)
    numbers = results.frame_index[slice(*rows)]
    places = {int(number): rows[0] + place for place, number in enumerate(numbers)}
    first, last = (min(places), max(places)) if places else (0, -1)
    pixels = np.empty(source.shape, np.uint8)
    drawn = 0
    with _PieceWriter(out, container, painter.size, _rate(results)) as writer:
        for picture in source.rows(first, last + 1 - first):
            row = places.get(picture.frame_index)
            if picture.picture is None or row is None:
                continue
            source.convert(picture.picture, pixels)
            writer.write(painter.paint(pixels, row), int(ticks[row]), row // task.piece_rows)
            drawn += 1
            on_frame(drawn)
    return drawn


class _PieceWriter:
    """Encodes pictures into one file, each piece by an encoder of its own."""

    def __init__(self, out: Path, container: str, size: tuple[int, int], rate: Fraction) -> None:
        self._size, self._rate = size, rate
        options = _MP4 if container == "mp4" else {}
        self._container = av.open(str(out), "w", format=container, options=options)
        # Describes the stream; what is encoded comes from the encoders of the pieces.
        self._stream = self._container.add_stream("libx264", rate=rate, options=_ENCODER)
        self._configure(self._stream.codec_context)
        self._encoder: av.VideoCodecContext | None = None
        self._piece = -1

    def __enter__(self) -> "_PieceWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._end_piece()
                self._container.start_encoding()  # a file without a frame is a file, too
        finally:
            self._container.close()

    def write(self, pixels: NDArray[np.uint8], tick: int, piece: int) -> None:
        """Add a picture of piece number `piece`, to be shown at `tick`."""
        if piece != self._piece:
            self._end_piece()
            encoder = av.CodecContext.create("libx264", "w")
            assert isinstance(encoder, av.VideoCodecContext)
            self._configure(encoder)
            encoder.options = _ENCODER
            encoder.flags |= av.codec.context.Flags.global_header
            self._encoder, self._piece = encoder, piece
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = tick, _CLOCK
        self._encode(frame)

    def _configure(self, context: av.VideoCodecContext) -> None:
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.framerate = self._rate
        context.time_base = _CLOCK

    def _end_piece(self) -> None:
        if self._encoder is not None:
            self._encode(None)
        self._encoder = None

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._encoder is not None
        for packet in self._encoder.encode(frame):
            packet.stream = self._stream
            self._container.mux(packet)


def _draw_in_workers(
    task: _Task, parts: Mapping[Path, tuple[int, int]], on_frame: Callable[[int], None]
) -> list[int]:
    """Draw each part, given its rows, in a process of its own; when one fails, the others end.

    Returns:
        Frames drawn of each part.
    """
    context = get_context("spawn")
    drawn: dict[Connection, int] = {}
    processes = []
    try:
        for part, rows in parts.items():
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, task, part, rows)
            processes.append(context.Process(target=_work, args=arguments, daemon=True))
            processes[-1].start()
            theirs.close()  # so that a worker's end is seen as the end of its messages
            drawn[ours] = 0
        waiting = list(drawn)
        while waiting:
            for connection in wait(waiting):
                assert isinstance(connection, Connection)
                try:
                    message = connection.recv()
                except (EOFError, OSError) as error:
                    raise DecoderFailed(
                        f"a process that drew {task.video} died; draw it with one worker"
                    ) from error
                if isinstance(message, Exception):
                    raise message
                if message is None:
                    waiting.remove(connection)
                else:
                    drawn[connection] = message
                    on_frame(sum(drawn.values()))
    finally:
        for process in processes:
            process.terminate()  # does nothing to one that has ended
            process.join()
        for connection in drawn:
            connection.close()
    return list(drawn.values())


def _work(connection: Connection, task: _Task, part: Path, rows: tuple[int, int]) -> None:
    """Be a worker: send the number of frames drawn, and None at the end or what went wrong."""

    def show(drawn: int) -> None:
        if drawn % _REPORTED_FRAMES == 0:
            connection.send(drawn)

    try:
        # NUT keeps the times of packets exactly as they are.
        connection.send(_draw_rows(task, part, "nut", rows, show))
        connection.send(None)
    except (EthostreamError, OSError) as error:
        with suppress(OSError):  # nobody may listen any more, which was the error
            connection.send(error)


def _join(parts: Sequence[Path], out: Path) -> None:
    """Put the packets of several files one after the other; nothing is encoded again."""
    with av.open(str(out), "w", format="mp4", options=_MP4) as joined:
        stream = None
        for part in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                stream = stream or joined.add_stream_from_template(source)
                for packet in container.demux(source):
                    if packet.pts is not None:  # the last one is empty and ends the file
                        packet.stream = stream
                        joined.mux(packet)


def _rising_ticks(pts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(T,) times of the frames; damaged files repeat times, and a video's must rise."""
    ticks = np.rint(pts_ns * (1e-9 / float(_CLOCK))).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.asarray(np.maximum.accumulate(ticks - steps) + steps)


def _rate(results: VideoResults) -> Fraction:
    return Fraction(results.frame_rate_hz or 30.0).limit_denominator(1001)


def _ignore(drawn: int) -> None:
    """Nobody watches."""

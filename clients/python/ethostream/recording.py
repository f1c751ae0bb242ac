"""Keeps what a live stream sent and got, so that a crash costs no more than the last frame."""

import json
import threading
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ethostream.errors import InvalidFrame, InvalidRequest
from ethostream.ledger import Answer
from ethostream.sources import picture, require_av
from ethostream.values import BehaviorResult, FrameOutcome, TriggerEvent

Codec = Literal["ffv1", "h264"]

VIDEO_NAME = "video.mkv"
RESULTS_NAME = "results.jsonl"

_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "ffv1": ("ffv1", {"level": "3", "slices": "4"}),
    "h264": ("libx264", {"preset": "veryfast", "crf": "18", "tune": "zerolatency"}),
}
_PIXEL_FORMATS = {("ffv1", 2): "gray", ("ffv1", 3): "bgr0", ("h264", 2): "gray"}
# Matroska holds a cluster back until the next begins. With one for each frame, only the last frame
# is lost in a crash, however slow the camera; it costs 15 bytes and 0.03 ms a frame.
_CONTAINER_OPTIONS = {"cluster_time_limit": "0", "flush_packets": "1"}
_MAX_RATE_HZ = 500.0  # Matroska counts ms: frames must not fall on the same one


class Recorder:
    """Writes `video.mkv` and `results.jsonl` into a folder.

    Each line of results is one JSON object, written out at once. A line of kind "frame" names the
    frame of the video (`video_frame`, counted from 0) that holds a sent frame; where the process
    was killed, the video may lack the last of them. The video has a constant nominal rate; true
    times stand in the lines.

    Args:
        folder: Made where it is missing.
        frame_rate_hz: Nominal rate of the video.
        codec: "ffv1" keeps every bit; "h264" is smaller.

    Raises:
        InvalidRequest: The folder holds a recording already.
    """

    def __init__(self, folder: Path, *, frame_rate_hz: float, codec: Codec = "ffv1") -> None:
        self._av: Any = require_av()
        if (folder / RESULTS_NAME).exists() or (folder / VIDEO_NAME).exists():
            raise InvalidRequest(f"{folder} holds a recording already; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._codec = codec
        self._rate = Fraction(min(frame_rate_hz or 30.0, _MAX_RATE_HZ)).limit_denominator(1000)
        self._lock = threading.Lock()  # frames and answers come from two threads
        self._lines = (folder / RESULTS_NAME).open("x", encoding="utf-8")
        self._container = self._av.open(
            str(folder / VIDEO_NAME), "w", format="matroska", options=_CONTAINER_OPTIONS
        )
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._video_frame = 0

    def frame(
        self, frame_index: int, capture_time_ns: int, image: NDArray[np.uint8] | bytes
    ) -> None:
        """Keep a frame that was sent.

        Raises:
            InvalidFrame: It has another shape than the first one, or cannot be read.
        """
        pixels = self._decoded(image) if isinstance(image, bytes) else image
        if self._stream is None:
            self._begin(pixels)
        if pixels.shape != self._shape:
            raise InvalidFrame(
                f"frame {frame_index} has shape {pixels.shape}, the recording {self._shape}; "
                "record frames of one size"
            )
        source_format = "gray" if pixels.ndim == 2 else "rgb24"
        frame = self._av.VideoFrame.from_ndarray(pixels, format=source_format)
        frame.pts = self._video_frame
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.line(
            {
                "kind": "frame",
                "frame_index": frame_index,
                "capture_time_ns": capture_time_ns,
                "video_frame": self._video_frame,
            }
        )
        self._video_frame += 1

    def line(self, values: dict[str, Any]) -> None:
        """Keep a line of results."""
        with self._lock:
            self._lines.write(json.dumps(values) + "\n")
            self._lines.flush()

    def __enter__(self) -> "Recorder":
        """Give the recorder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete both files."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        self._lines.close()

    def _begin(self, pixels: NDArray[np.uint8]) -> None:
        encoder, options = _ENCODERS[self._codec]
        self._shape = pixels.shape
        self._stream = self._container.add_stream(encoder, rate=self._rate, options=options)
        self._stream.height, self._stream.width = pixels.shape[:2]
        self._stream.pix_fmt = _PIXEL_FORMATS.get((self._codec, pixels.ndim), "yuv444p")
        self._stream.time_base = 1 / self._rate
        self._stream.thread_type = "SLICE"  # frame threads would hold frames back

    def _decoded(self, data: bytes) -> NDArray[np.uint8]:
        context = self._av.CodecContext.create("png" if data[:1] == b"\x89" else "mjpeg", "r")
        try:
            frames = context.decode(self._av.Packet(data)) or context.decode(None)
        except self._av.error.FFmpegError as error:
            raise InvalidFrame(
                f"an image file cannot be read for the recording: {error}"
            ) from error
        return picture(frames[0], "gray" if frames[0].format.name.startswith("gray") else "rgb")


def answer_line(answer: Answer) -> dict[str, Any]:
    """An answer as it stands in a line of JSON; arrays become nested lists."""
    values = _plain(asdict(answer))
    if isinstance(answer, FrameOutcome):
        return {"kind": "outcome", "outcome": values.pop("kind"), **values}
    if isinstance(answer, BehaviorResult):
        return {"kind": "behavior", **values, "status": answer.status.name.lower()}
    if isinstance(answer, TriggerEvent):
        return {"kind": "trigger", "switched": values.pop("kind"), **values}
    return {"kind": "chunk", **values}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

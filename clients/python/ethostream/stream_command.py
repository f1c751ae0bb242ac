"""`ethostream stream`: a camera, a video file or an image folder as a live stream."""

import argparse
import json
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ethostream.blocking import LiveStream
from ethostream.errors import InvalidRequest, SourceLost
from ethostream.ledger import Answer
from ethostream.recording import Recorder, answer_line
from ethostream.sources import Source, SourceColor, open_source, require_av
from ethostream.stream_options import add_stream_options, open_client
from ethostream.values import BehaviorResult, DynamicCrop, FrameOutcome

SUMMARY = "send a camera, a video file or an image folder to a server as a live stream"

_SHOW_SECONDS = 0.5  # between two lines for people
_LATENCIES = 100_000  # frames that the percentiles look back on: 17 min at 100 Hz


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add(
        "source",
        help="camera index or device, address such as rtsp://HOST/PATH, video file, or folder of "
        "JPEG or PNG files",
    )
    add_stream_options(parser)
    add(
        "--rate",
        type=_not_negative,
        default=None,
        metavar="HZ",
        help="frames a second to send, and to ask of a camera; 0 = as fast as answers allow; "
        "by default the file's own, or as a camera gives them",
    )
    add(
        "--frame-rate",
        type=_not_negative,
        default=0.0,
        metavar="HZ",
        help="true rate of the recording or camera, whatever the pace: behavior bundles go by it; "
        "0: as the file or camera tells",
    )
    add("--frame-limit", type=_count, default=0, metavar="N", help="frames to send; 0: all")
    add("--freshness", choices=("all", "latest", "deadline"), default="all", help="under overload")
    add("--max-age-ms", type=int, default=100, help="deadline: longest wait of a frame, ms")
    add("--in-flight", type=int, default=0, help="frames in flight; 0 = the server's default")
    add("--color", choices=("gray", "rgb"), default="rgb", help="what video is decoded into")
    add("--jpeg", type=int, default=None, metavar="QUALITY", help="send as JPEG of 1..100 (best)")
    add(
        "--dynamic-crop",
        type=_not_negative,
        nargs="?",
        const=50.0,
        metavar="MARGIN_PX",
        help="crop each frame around the animal with this margin, 50 px where none is given "
        "(write it after SOURCE)",
    )
    add(
        "--max-zoom",
        type=float,
        default=2.5,
        metavar="X",
        help="largest magnification by --dynamic-crop (default: 2.5)",
    )
    add("--camera", default="", help="name of the camera for the server's logs and metrics")
    add("--record", type=Path, default=None, metavar="DIR", help="keep video and results in DIR")
    add("--record-codec", choices=("ffv1", "h264"), default="ffv1", help="ffv1 keeps every bit")
    add("--json", action="store_true", help="print every answer as one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Stream the source to its end, or until Ctrl-C."""
    color: SourceColor = arguments.color
    source = open_source(arguments.source, color=color, rate_hz=arguments.rate or 0.0)
    frame_rate_hz = _frame_rate_hz(arguments, source)
    encoder = None if arguments.jpeg is None else _JpegEncoder(arguments.jpeg)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(arguments))
        stream = stack.enter_context(
            client.stream(
                arguments.model,
                freshness=arguments.freshness,
                max_age_ms=arguments.max_age_ms if arguments.freshness == "deadline" else 0,
                max_frames_in_flight=arguments.in_flight,
                frame_rate_hz=frame_rate_hz,
                camera=arguments.camera,
                color="rgb",
                dynamic_crop=_dynamic_crop(arguments),
                shared_memory=arguments.shared_memory,
            )
        )
        if not frame_rate_hz:
            _warn_of_unknown_rate(stream)
        recorder = None
        if arguments.record is not None:
            recorder = stack.enter_context(
                Recorder(
                    arguments.record, frame_rate_hz=frame_rate_hz, codec=arguments.record_codec
                )
            )
            recorder.line(_started_line(stream, arguments.server))
        reader = _Reader(stream, recorder, is_json=arguments.json)
        reader.start()
        lost: SourceLost | None = None
        try:
            pace_hz = _pace_hz(arguments, source)
            _send(source, stream, reader, recorder, encoder, pace_hz, arguments.frame_limit)
        except KeyboardInterrupt:  # the usual end of a camera: finish what is in flight
            pass
        except SourceLost as error:  # told at the end: what came before is finished first
            lost = error
        finally:
            reader.finish()
        summary = {**reader.summary(), "damaged": source.damaged}
        if recorder is not None:
            recorder.line(summary)
    _show_summary(summary, is_json=arguments.json)
    if lost is not None:
        raise lost
    return 0


def _send(
    source: Source,
    stream: LiveStream,
    reader: "_Reader",
    recorder: Recorder | None,
    encoder: "_JpegEncoder | None",
    pace_hz: float,
    frame_limit: int,
) -> None:
    begin = time.monotonic()
    for count, frame in enumerate(source):
        if reader.error is not None or (frame_limit and count == frame_limit):
            return
        if pace_hz:
            time.sleep(max(0.0, begin + count / pace_hz - time.monotonic()))
        image = frame.image
        if encoder is not None and not isinstance(image, bytes):
            image = encoder.encode(image)
        index = stream.send(image, capture_time_ns=frame.capture_time_ns)
        if recorder is not None:
            recorder.frame(index, frame.capture_time_ns, frame.image)


class _Reader(threading.Thread):
    """Reads the answers, keeps and shows them."""

    def __init__(self, stream: LiveStream, recorder: Recorder | None, *, is_json: bool) -> None:
        super().__init__(name="answers", daemon=True)
        self.error: BaseException | None = None
        self._stream = stream
        self._recorder = recorder
        self._is_json = is_json
        self._round_trips_ns: deque[int] = deque(maxlen=_LATENCIES)
        self._latest: dict[str, str] = {}
        self._begin = time.monotonic()
        self._shown = self._begin

    def run(self) -> None:
        """Read to the end."""
        try:
            for answer in self._stream:
                self._take(answer)
        except BaseException as error:  # raised again in the main thread
            self.error = error

    def finish(self) -> None:
        """Finish the stream and wait until all its answers are read.

        Raises:
            EthostreamError: The stream failed.
        """
        try:
            if self.error is None:
                self._stream.finish()
        finally:
            self.join(timeout=60)
        if self.error is not None:
            raise self.error

    def summary(self) -> dict[str, Any]:
        """Counts and latency."""
        seconds = time.monotonic() - self._begin
        counts, clock = self._stream.ledger, self._stream.clock
        return {
            "kind": "summary",
            "accepted": counts.accepted,
            "results": counts.results,
            "skipped": counts.skipped,
            "errors": counts.errors,
            "lost": counts.lost,
            "reconnects": self._stream.reconnects,
            "seconds": round(seconds, 3),
            "frames_per_s": round((counts.accepted - counts.in_flight) / seconds, 2),
            "p50_ms": self._percentile_ms(50),
            "p99_ms": self._percentile_ms(99),
            "clock_offset_ms": None if clock is None else round(clock.offset_ns / 1e6, 3),
            "clock_error_ms": None if clock is None else round(clock.error_ns / 1e6, 3),
        }

    def _take(self, answer: Answer) -> None:
        if self._recorder is not None or self._is_json:
            line = answer_line(answer)
            if self._recorder is not None:
                self._recorder.line(line)
            if self._is_json:
                sys.stdout.write(json.dumps(line) + "\n")
        if isinstance(answer, FrameOutcome) and answer.kind == "result":
            self._round_trips_ns.append(answer.round_trip_ns)
        if not self._is_json and isinstance(answer, FrameOutcome | BehaviorResult):
            self._show(answer)

    def _show(self, answer: FrameOutcome | BehaviorResult) -> None:
        if isinstance(answer, BehaviorResult):
            self._latest[f"{answer.bundle}@{answer.version}"] = _behavior_text(answer)
        else:
            for pose in answer.poses:
                found = int((pose.confidence >= 0.5).sum())
                text = f"{found} of {pose.confidence.size} keypoints at 0.5 or more"
                self._latest[f"{pose.bundle}@{pose.version}"] = text
        now = time.monotonic()
        if now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            counts = self._stream.ledger
            latest = " · ".join(f"{bundle}: {text}" for bundle, text in self._latest.items())
            sys.stdout.write(
                f"frame {answer.frame_index} · p50 {self._percentile_ms(50)} ms "
                f"p99 {self._percentile_ms(99)} ms · skipped {counts.skipped} "
                f"errors {counts.errors} lost {counts.lost} · {latest}\n"
            )
            sys.stdout.flush()

    def _percentile_ms(self, percent: float) -> float | None:
        if not self._round_trips_ns:
            return None
        return round(float(np.percentile(self._round_trips_ns, percent)) / 1e6, 3)


class _JpegEncoder:
    """Encodes frames as JPEG files, one at a time."""

    def __init__(self, quality: int) -> None:
        if not 1 <= quality <= 100:
            raise InvalidRequest(f"--jpeg {quality} is outside 1..100; 90 is a good start")
        self._av: Any = require_av()
        # The encoder counts from 2 (best) to 31 (worst).
        self._scale = round(31 - (quality - 1) * 29 / 99)
        self._context: Any = None
        self._size = (0, 0)

    def encode(self, pixels: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
        """The file of (H, W) or (H, W, 3) RGB pixels."""
        is_gray = pixels.ndim == 2
        frame = self._av.VideoFrame.from_ndarray(pixels, format="gray" if is_gray else "rgb24")
        # JPEG is full range; without saying so, the brightness would be squeezed.
        frame = frame.reformat(format="yuvj420p", src_color_range=2, dst_color_range=2)
        if (frame.width, frame.height) != self._size:
            self._context = self._av.CodecContext.create("mjpeg", "w")
            self._size = (frame.width, frame.height)
            self._context.width, self._context.height = self._size
            self._context.pix_fmt = "yuvj420p"
            self._context.framerate = 30
            self._context.qmin = self._context.qmax = self._scale
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


def _pace_hz(arguments: argparse.Namespace, source: Source) -> float:
    """Frames a second to send; 0 = as they come."""
    if arguments.rate is not None:
        return float(arguments.rate)
    return 0.0 if source.is_live else source.frame_rate_hz


def _frame_rate_hz(arguments: argparse.Namespace, source: Source) -> float:
    """Frames a second of what is sent, in the time of the recording; 0 = not known."""
    if arguments.frame_rate:
        return float(arguments.frame_rate)
    # A camera may give fewer frames than it was asked for; a pace below its own leaves some out.
    rates_hz = (source.frame_rate_hz, arguments.rate if source.is_live else None)
    return min((one for one in rates_hz if one), default=0.0)


def _warn_of_unknown_rate(stream: LiveStream) -> None:
    for info in stream.bundles:
        if info.behavior is not None:
            sys.stderr.write(
                f"ethostream: the source does not tell its rate: {info.bundle} takes it for its "
                f"own, {info.behavior.frame_rate_hz:g} frames/s; give --frame-rate if it differs\n"
            )


def _dynamic_crop(arguments: argparse.Namespace) -> DynamicCrop | None:
    if arguments.dynamic_crop is None:
        return None
    return DynamicCrop(margin_px=arguments.dynamic_crop, max_zoom=arguments.max_zoom)


def _behavior_text(answer: BehaviorResult) -> str:
    if answer.probabilities is None:
        return answer.status.name.lower().replace("_", " ")
    best = int(np.argmax(answer.probabilities))
    return f"{answer.behaviors[best]} {answer.probabilities[best]:.2f}"


def _started_line(stream: LiveStream, server: str) -> dict[str, Any]:
    return {
        "kind": "started",
        "server": server,
        "session_id": stream.session_id,
        "bundles": [str(info.bundle) for info in stream.bundles],
        "manifests_sha256": [info.manifest_sha256 for info in stream.bundles],
        "strides": list(stream.strides),
    }


def _show_summary(summary: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    sys.stdout.write(
        "{accepted} frames sent: {results} analyzed, {skipped} skipped, {errors} failed, "
        "{lost} lost; {frames_per_s} frames/s, p50 {p50_ms} ms, p99 {p99_ms} ms, "
        "{reconnects} reconnects\n".format(**summary)
    )
    if summary["damaged"]:
        sys.stdout.write("{damaged} damaged pictures or packets left out\n".format(**summary))


def _not_negative(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return value


def _count(text: str) -> int:
    return int(text) if _not_negative(text) else 0

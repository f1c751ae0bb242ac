"""`ethostream bench`: where the time of a frame goes between this machine and a server."""

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethostream.blocking import LiveStream
from ethostream.errors import EthostreamError, InvalidRequest
from ethostream.frames import MAX_MESSAGE_BYTES
from ethostream.stream_options import add_stream_options, open_client
from ethostream.values import FrameOutcome, StageTimings

SUMMARY = "measure where the time of a frame goes between this machine and a server"

_WARM_UP = 20
_PICTURES = 8
_ROWS = (
    ("round_trip", "from send until the answer is here"),
    ("transport", "of this, the way there and back"),
    ("server", "of this, in the server"),
    ("overhead", "of the server's, all but the engine"),
    ("queue", "waiting for frames before it"),
    ("decode", "reading the picture"),
    ("preprocess", "crop, resize and color"),
    ("batch_wait", "waiting for a batch and the device"),
    ("engine", "computing the batch"),
    ("postprocess", "from the engine's answer on"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_stream_options(parser)
    add = parser.add_argument
    add("--size", default="640x480", metavar="WxH", help="of the frames, px (default: 640x480)")
    add("--color", choices=("gray", "rgb"), default="gray", help="default: gray")
    add("--frames", type=int, default=300, help="that count (default: 300)")
    add("--in-flight", type=int, default=1, help="frames sent and not yet answered (default: 1)")
    add("--json", action="store_true", help="print one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Send noise, time the answers, print where the time went."""
    pictures = _pictures(arguments.size, arguments.color)
    if arguments.frames < 1 or arguments.in_flight < 1:
        raise InvalidRequest(
            f"--frames is {arguments.frames} and --in-flight {arguments.in_flight}; give 1 or more"
        )
    with (
        open_client(arguments) as client,
        client.stream(
            arguments.model,
            max_frames_in_flight=arguments.in_flight,
            shared_memory=arguments.shared_memory,
        ) as stream,
    ):
        outcomes, seconds = _measure(stream, pictures, arguments.frames)
        report = _report(outcomes, seconds)
        report |= {
            "server": arguments.server,
            "bundles": [str(one.bundle) for one in stream.bundles],
            "engines": [f"{one.engine} {one.precision}" for one in stream.bundles],
            "size": arguments.size,
            "color": arguments.color,
            "in_flight": stream.credits,
            "shared_memory": arguments.shared_memory,
        }
    if arguments.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _show(report)
    return 0


def _pictures(size: str, color: str) -> list[NDArray[np.uint8]]:
    width, by, height = size.partition("x")
    if not (by and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InvalidRequest(f"--size is {size!r}; give width x height in px, such as 640x480")
    shape = (int(height), int(width), 3) if color == "rgb" else (int(height), int(width))
    if (size_bytes := math.prod(shape)) > MAX_MESSAGE_BYTES:
        raise InvalidRequest(
            f"--size is {size}, {size_bytes} bytes a frame; give a size of at most "
            f"{MAX_MESSAGE_BYTES} bytes, which is all that a message of the client carries"
        )
    random = np.random.default_rng(0)
    return [random.integers(0, 256, shape, np.uint8) for _ in range(_PICTURES)]


def _measure(
    stream: LiveStream, pictures: Sequence[NDArray[np.uint8]], frames: int
) -> tuple[list[FrameOutcome], float]:
    """Return the outcomes after the warm-up, and the time that they took, s."""
    outcomes: list[FrameOutcome] = []
    warm = threading.Event()

    def read() -> None:
        for answer in stream:
            if isinstance(answer, FrameOutcome):
                outcomes.append(answer)
            if len(outcomes) == _WARM_UP:
                warm.set()
        warm.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for number in range(_WARM_UP):
            stream.send(pictures[number % len(pictures)])
        warm.wait()
        began = time.perf_counter()
        for number in range(frames):
            stream.send(pictures[number % len(pictures)])
        stream.finish()
    finally:
        stream.close()
        reader.join()
    seconds = time.perf_counter() - began
    failed = [one for one in outcomes if one.kind == "error"]
    if failed:
        raise EthostreamError(
            f"{len(failed)} of {len(outcomes)} frames failed; the first: {failed[0].message}"
        )
    return outcomes[_WARM_UP:], seconds


def _report(outcomes: Sequence[FrameOutcome], seconds: float) -> dict[str, Any]:
    timed = [(one.round_trip_ns, one.timings) for one in outcomes if one.timings is not None]
    parts = [_parts(round_trip_ns, timings) for round_trip_ns, timings in timed]
    batches = [timings.batch_size for _, timings in timed]
    return {
        "frames": len(outcomes),
        "frames_per_s": round(len(outcomes) / seconds, 2),
        "mean_batch": round(float(np.mean(batches)), 2),
        **{
            f"{name}_{percentile}_ms": round(
                float(np.percentile([one[name] for one in parts], rank)) / 1e6, 3
            )
            for name, _ in _ROWS
            for percentile, rank in (("p50", 50), ("p99", 99))
        },
    }


def _parts(round_trip_ns: int, timings: StageTimings) -> dict[str, int]:
    return {
        "round_trip": round_trip_ns,
        "transport": round_trip_ns - timings.total_ns,
        "server": timings.total_ns,
        "overhead": timings.total_ns - timings.engine_ns,
        "queue": timings.queue_ns,
        "decode": timings.decode_ns,
        "preprocess": timings.preprocess_ns,
        "batch_wait": timings.batch_wait_ns,
        "engine": timings.engine_ns,
        "postprocess": timings.postprocess_ns,
    }


def _show(report: dict[str, Any]) -> None:
    bundles = zip(report["bundles"], report["engines"], strict=True)
    lines = [
        f"{', '.join(f'{bundle} ({engine})' for bundle, engine in bundles)} at {report['server']}",
        f"{report['frames']} {report['color']} frames of {report['size']} px, "
        f"{report['in_flight']} in flight: {report['frames_per_s']} frames/s, "
        f"{report['mean_batch']} a batch",
        f"{'':14}{'p50':>9}{'p99':>9}  ms",
    ]
    for name, meaning in _ROWS:
        p50, p99 = report[f"{name}_p50_ms"], report[f"{name}_p99_ms"]
        lines.append(f"{name.replace('_', ' '):14}{p50:9.3f}{p99:9.3f}  {meaning}")
    sys.stdout.write("\n".join(lines) + "\n")

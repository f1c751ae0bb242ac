"""Folders of short recordings, and jobs on them that are waited for."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from ethostream import Client, Job

PATIENCE_S = 400  # of a machine that does much else
EXACT = ("--engine", "onnxruntime", "--precision", "fp32")


def write_clip(path: Path, *, frames: int = 40, seed: int = 0) -> Path:
    """A recording of a bright spot that wanders, 64x48 px, 30 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    xs, ys = random.integers(0, 48, frames), random.integers(0, 36, frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for number in range(frames):
            image = np.full((48, 64, 3), 40, np.uint8)
            image[ys[number] : ys[number] + 12, xs[number] : xs[number] + 16] = 220
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def watch_to_the_end(address: str, job_id: str) -> list[Job]:
    """All that is told of a job, until it is over."""

    def watch() -> list[Job]:
        with Client(address) as client:
            return list(client.jobs.watch(job_id, reconnect_seconds=120))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(watch).result(PATIENCE_S)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def settled(*logs: Path) -> list[tuple[str, str]]:
    """Name and state of each video that servers say is over, in their order."""
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line]
    return [
        (Path(line["video"]).name, line["state"])
        for line in lines
        if line.get("event") == "video settled"
    ]

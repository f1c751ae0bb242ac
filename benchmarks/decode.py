"""Frames a second from files to the pixels that models take, beside bare loops in the same turns.

Each turn runs every decoder once on the same file, held to as many cores as it may use threads:
ours with its worker process and the hand-over, a bare loop with PyAV, a bare loop with OpenCV. A
ratio is the median over the turns of the time of the fastest bare loop to a decoder's own; where
the machine is not quiet, the ratio of the processor times of all processes says more. Worker
processes are started and have decoded a frame before, as those of a server that runs.

On a GPU its decoders read the file in 1, 2, 4 and 7 sessions at once, beside bare loops on all
cores.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

from benchmarks.recordings import CODECS, make_recordings
from benchmarks.report import finish
from service.bundle import InputSpec
from service.decoder_names import AUTO_ORDER
from service.video import DecodeWorkers
from service.video.base import Wanted
from service.video.ladder import refuse, refuse_machine
from service.video.pyav import VideoFile

_GOAL = 0.9
_SESSIONS = (1, 2, 4, 7)
# Frames that are rendered, and how often a file repeats them, by size.
_LENGTHS = {"640x480": (150, 8), "1920x1080": (60, 12)}
_SHARED = "pyav shared"
"""One file, its stretches decoded by as many processes as threads may be used."""
_STAYING = ", staying"
"""Ends the name of a decoder whose inputs stay in the GPU's memory, where engines take them."""

Row = dict[str, object]
Decoder = tuple[str, int]
"""Name, and how many read the file at once."""
Run = Callable[[Path, InputSpec, int], "Turn"]
"""Decodes a file with so many threads."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Turn:
    """One decoder, once over a file."""

    frames: int
    seconds: float
    cpu_seconds: float
    """Of all its processes and threads."""


def main() -> int:
    """Measure what the arguments name and print it."""
    arguments = _parser().parse_args()
    cv2.setNumThreads(1)
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = arguments.recordings or Path(stack.enter_context(TemporaryDirectory()))
        for size in arguments.sizes:
            width_px, height_px = (int(part) for part in size.split("x"))
            frames, repeats = _LENGTHS.get(size, _LENGTHS["1920x1080"])
            paths = make_recordings(
                folder, arguments.codecs, (width_px, height_px), frames, repeats
            )
            for codec, path in paths.items():
                for color in arguments.colors:
                    for found in _measure_file(path, _spec(arguments.input, color), arguments):
                        row: Row = {"codec": codec, "size": size, "color": color, **found}
                        print(f"{_label(row)}  {_line(row)}", file=sys.stderr)
                        rows.append(row)
    ours = [row for row in rows if (row["decoder"], row["sessions"]) == ("pyav", 1)]
    finish(
        [(_label(row), _line(row)) for row in rows],
        {
            "benchmark": "decode",
            "input": arguments.input,
            "goal_ratio": _GOAL,
            "least_ratio": min((row["ratio_to_fastest_bare"] for row in ours), default=None),  # type: ignore[type-var]
            "rows_at_goal": sum(row["ratio_to_fastest_bare"] >= _GOAL for row in ours),  # type: ignore[operator]
            "rows_of_pyav": len(ours),
            "rows": rows,
        },
        arguments.out,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="speed of decoders to model-ready pixels")
    add = parser.add_argument
    cores = os.cpu_count() or 1
    add("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    add("--sizes", nargs="+", default=list(_LENGTHS), metavar="WxH", help="of the recordings")
    add("--colors", nargs="+", choices=("rgb", "gray"), default=["rgb", "gray"])
    add("--threads", type=int, nargs="+", default=[1, 2][: min(2, cores)])
    add("--input", default="256x192", metavar="WxH", help="size that the models take")
    add("--turns", type=int, default=3, help="each decodes the file so often")
    add("--recordings", type=Path, help="folder that keeps the recordings for another time")
    add("--out", type=Path, help="file of the JSON line")
    return parser


def _spec(size: str, color: str) -> InputSpec:
    width_px, height_px = (int(part) for part in size.split("x"))
    return InputSpec(width_px=width_px, height_px=height_px, color=color, fit="stretch")  # type: ignore[arg-type]


def _measure_file(path: Path, spec: InputSpec, arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of every decoder that takes the file."""
    bare: dict[Decoder, Run] = {("bare pyav", 1): _bare_pyav, ("bare opencv", 1): _bare_opencv}
    for threads in arguments.threads:
        # One file with all threads, and as many files side by side with one thread each.
        ours = {("pyav", files): partial(_ours, "pyav", files) for files in {1, threads}}
        if threads > 1:
            ours[_SHARED, 1] = partial(_ours, _SHARED, 1)
        yield from _measure(path, spec, threads, {**bare, **ours}, arguments.turns)
    taken = [name for name in AUTO_ORDER if name != "pyav" and _takes(name, path, spec)]
    if taken:
        kinds = [*taken, *(f"{name}{_STAYING}" for name in taken)]
        ours = {(name, n): partial(_ours, name, n) for name in kinds for n in _SESSIONS}
        yield from _measure(path, spec, os.cpu_count() or 1, {**bare, **ours}, arguments.turns)


def _takes(decoder: str, path: Path, spec: InputSpec) -> bool:
    if refuse_machine(decoder):
        return False
    return not refuse(decoder, VideoFile(path), Wanted(None, (spec,)), may_use_cpu=False)


def _measure(
    path: Path, spec: InputSpec, threads: int, runs: dict[Decoder, Run], most_turns: int
) -> Iterator[Row]:
    turns: dict[Decoder, list[Turn]] = {decoder: [] for decoder in runs}
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(cores)[:threads])
        for _ in range(most_turns):
            for decoder, run in runs.items():
                turns[decoder].append(run(path, spec, threads))
    finally:
        os.sched_setaffinity(0, cores)
    counts = {turn.frames / sessions for (_, sessions), taken in turns.items() for turn in taken}
    if len(counts) != 1:
        raise RuntimeError(f"the decoders gave {sorted(counts)} frames of {path}")
    bare = [taken for (name, _), taken in turns.items() if name.startswith("bare")]
    fastest = min(bare, key=lambda taken: statistics.median(one.seconds for one in taken))
    least_cpu = min(one.cpu_seconds / one.frames for taken in bare for one in taken)
    for (name, sessions), taken in turns.items():
        cpu_per_frame = min(one.cpu_seconds / one.frames for one in taken)
        ratios = [
            own.frames / own.seconds / (reference.frames / reference.seconds)
            for reference, own in zip(fastest, taken, strict=True)
        ]
        yield {
            "decoder": name,
            "threads": threads,
            "sessions": sessions,
            "frames_per_s": statistics.median(one.frames / one.seconds for one in taken),
            "ratio_to_fastest_bare": statistics.median(ratios),
            "cpu_ms_per_frame": cpu_per_frame * 1e3,
            "cpu_ratio_to_cheapest_bare": least_cpu / cpu_per_frame,
        }


def _ours(decoder: str, sessions: int, path: Path, spec: InputSpec, threads: int) -> Turn:
    return asyncio.run(_ours_async(decoder, sessions, path, spec, threads))


async def _ours_async(
    decoder: str, sessions: int, path: Path, spec: InputSpec, threads: int
) -> Turn:
    """Read the file in several sessions at once and take the inputs."""

    async def read(frame_limit: int | None = None) -> int:
        frames = 0
        async with workers.open(
            path,
            color=None,
            inputs=(spec,),
            frame_limit=frame_limit,
            on_device=decoder.endswith(_STAYING),
        ) as reader:
            async for _ in reader:
                frames += 1
        return frames

    each = max(1, threads // sessions) if decoder == "pyav" else 1
    processes = threads if decoder == _SHARED else 1
    name = "pyav" if decoder == _SHARED else decoder.removesuffix(_STAYING)
    async with DecodeWorkers(sessions, processes=processes, threads=each, decoder=name) as workers:
        # So many frames that each process of a shared file decodes one.
        await asyncio.gather(*(read(1 if processes == 1 else None) for _ in range(sessions)))
        clock = _Clock(workers.process_ids)
        return clock.turn(sum(await asyncio.gather(*(read() for _ in range(sessions)))))


def _bare_pyav(path: Path, spec: InputSpec, threads: int) -> Turn:
    """Take gray from the luma plane as it lies there, color from `to_ndarray`."""
    size = (spec.width_px, spec.height_px)
    clock = _Clock()
    frames = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads > 1 else "NONE"
        for frame in container.decode(stream):
            if spec.color == "gray":
                plane = frame.planes[0]
                pixels: np.ndarray = np.ndarray(
                    (frame.height, frame.width),
                    np.uint8,
                    buffer=memoryview(plane),
                    strides=(plane.line_size, 1),
                )
            else:
                pixels = frame.to_ndarray(format="rgb24")
            cv2.resize(pixels, size)
            frames += 1
    return clock.turn(frames)


def _bare_opencv(path: Path, spec: InputSpec, threads: int) -> Turn:
    """Resize first, since its frames are BGR already."""
    size = (spec.width_px, spec.height_px)
    to = cv2.COLOR_BGR2GRAY if spec.color == "gray" else cv2.COLOR_BGR2RGB
    clock = _Clock()
    frames = 0
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    while True:
        there, frame = capture.read()
        if not there:
            break
        cv2.cvtColor(cv2.resize(frame, size), to)
        frames += 1
    capture.release()
    return clock.turn(frames)


class _Clock:
    """Times a run, in this process and others."""

    def __init__(self, process_ids: Sequence[int] = ()) -> None:
        self._process_ids = process_ids
        self._cpu = self._cpu_seconds()
        self._began = time.perf_counter()

    def turn(self, frames: int) -> Turn:
        """End the run."""
        seconds = time.perf_counter() - self._began
        return Turn(frames, seconds, self._cpu_seconds() - self._cpu)

    def _cpu_seconds(self) -> float:
        ticks = 0
        for process_id in self._process_ids:
            # Fields 14 and 15, counted behind the name, which may hold spaces.
            fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return time.process_time() + ticks / _TICKS_PER_S


def _label(row: Row) -> str:
    threads = f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}"
    sessions = f" x {row['sessions']}" if row["sessions"] != 1 else ""
    return f"{row['codec']} {row['size']} {row['color']}, {threads}, {row['decoder']}{sessions}"


def _line(row: Row) -> str:
    return (
        f"{row['frames_per_s']:8.1f} frames/s  {row['ratio_to_fastest_bare']:5.2f}  "
        f"{row['cpu_ms_per_frame']:7.3f} CPU-ms  {row['cpu_ratio_to_cheapest_bare']:5.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())

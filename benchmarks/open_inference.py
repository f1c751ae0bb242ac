"""This server beside PyTriton, both driven by perf_analyzer: `python -m benchmarks.open_inference`.

One network (ResNet-18 at 256x256 in fp32 with random weights), the same ONNX file, engine and
number of threads in all servers, unary requests of one frame, 1, 4 and 16 at once. Rounds
alternate between the bare loop and the servers; figures are medians of the rounds. "minimal" is
a server without anything that a service needs, see `benchmarks.minimal_inference`.

share
    Frames a second of a server, divided by those of a loop in one process that runs the graph on
    one frame at a time.
added_p50_ms
    Median latency of a server at one request at a time, minus that of the loop.
"""

import argparse
import csv
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.models import write_random_pose_bundle
from benchmarks.peer_rows import Load
from benchmarks.report import finish, percentile
from benchmarks.servers import ServerProcess, server_process
from service.engine import Engine, create_engine, default_threads

MODEL = "bench"
SIZE_PX = 256
CONCURRENCY = (1, 4, 16)
OURS, MINIMAL, PEER = "ethostream", "minimal", "PyTriton"


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each."""

    loop: Load
    servers: dict[tuple[str, int], Load]
    """By server and requests at once."""


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--perf-analyzer", default="perf_analyzer", metavar="COMMAND", help="how to start it"
    )
    parser.add_argument(
        "--pytriton", metavar="PYTHON", help="Python with PyTriton; without it, only this server"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--requests", type=int, default=200, help="of each of 3 windows")
    parser.add_argument("--out", type=Path, help="file for the JSON line")
    arguments = parser.parse_args()
    analyzer = shlex.split(arguments.perf_analyzer)
    if shutil.which(analyzer[0]) is None:
        parser.error(f"{analyzer[0]} cannot be started; see benchmarks/README.md for how to get it")
    names = (OURS, MINIMAL, PEER) if arguments.pytriton else (OURS, MINIMAL)
    with ExitStack() as stack:
        models = Path(stack.enter_context(TemporaryDirectory()))
        bundle = write_random_pose_bundle(
            models, MODEL, network="resnet18", width_px=SIZE_PX, height_px=SIZE_PX
        )
        graph, threads = bundle / "pose.onnx", default_threads()
        engine = create_engine(graph, engine="onnxruntime", precision="fp32", threads=threads)
        alone = ("--graph", str(graph), "--name", MODEL, "--threads", str(threads))
        servers = {
            OURS: stack.enter_context(
                server_process(
                    "ethostream.commands", "serve", "--models", str(models),
                    "--listen", "127.0.0.1:0", "--engine", "onnxruntime", "--precision", "fp32",
                )
            ),
            MINIMAL: stack.enter_context(server_process("benchmarks.minimal_inference", *alone)),
        }  # fmt: skip
        if arguments.pytriton:
            servers[PEER] = stack.enter_context(
                server_process("benchmarks.pytriton_server", *alone, python=arguments.pytriton)
            )
        rounds = [
            measure(engine, servers, analyzer, arguments.requests) for _ in range(arguments.rounds)
        ]
    rows, result = table(rounds, names)
    finish(rows, result, arguments.out)


def measure(
    engine: Engine, servers: dict[str, ServerProcess], analyzer: list[str], requests: int
) -> Round:
    """Take one turn: the loop, then each server at each number of requests at once."""
    loop = bare_loop(engine, 3 * requests)
    found = {
        (name, concurrency): analyze(analyzer, server, concurrency, requests)
        for concurrency in CONCURRENCY
        for name, server in servers.items()
    }
    return Round(loop, found)


def bare_loop(engine: Engine, frames: int) -> Load:
    """Run the graph on one frame at a time."""
    frame = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
    engine.run({"frames": frame})
    times_ms: list[float] = []
    for _ in range(frames):
        began = time.perf_counter()
        engine.run({"frames": frame})
        times_ms.append((time.perf_counter() - began) * 1e3)
    rate = frames / sum(times_ms) * 1e3
    return Load(rate, percentile(times_ms, 50), percentile(times_ms, 99))


def analyze(analyzer: list[str], server: ServerProcess, concurrency: int, requests: int) -> Load:
    """Run perf_analyzer for 3 windows; fewer, and it writes no result."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "result.csv"
        done = subprocess.run(
            [
                *analyzer, "-m", MODEL, "-u", f"127.0.0.1:{server.port}", "-i", "grpc",
                "--service-kind", "triton", "--shape", f"frames:{SIZE_PX},{SIZE_PX},3",
                "--concurrency-range", str(concurrency),
                # Three windows, however much they differ: the rounds tell how much they do.
                "--measurement-mode", "count_windows",
                "--measurement-request-count", str(requests),
                "--max-trials", "3", "--stability-percentage", "999", "-f", str(path),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not path.is_file():
            sys.exit(f"perf_analyzer failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file)
    return Load(
        float(row["Inferences/Second"]),
        float(row["p50 latency"]) / 1e3,
        float(row["p99 latency"]) / 1e3,
    )


def table(
    rounds: list[Round], names: tuple[str, ...]
) -> tuple[list[tuple[str, str]], dict[str, object]]:
    """Rows for people and the same for machines."""
    loop = _median([one.loop for one in rounds])
    rows = [("loop, one frame at a time", _text(loop))]
    servers: dict[str, dict[str, object]] = {name: {} for name in names}
    for concurrency, name in _cells(names):
        load = _median([one.servers[name, concurrency] for one in rounds])
        share = statistics.median(
            one.servers[name, concurrency].frames_per_s / one.loop.frames_per_s for one in rounds
        )
        cell = {
            "frames_per_s": round(load.frames_per_s, 2),
            "share": round(share, 3),
            "p50_ms": round(load.p50_ms, 2),
            "p99_ms": round(load.p99_ms, 2),
        }
        text = f"{_text(load)}, {share:.3f} of the loop"
        if concurrency == 1:
            added = statistics.median(
                one.servers[name, 1].p50_ms - one.loop.p50_ms for one in rounds
            )
            cell["added_p50_ms"] = round(added, 2)
            text += f", p50 {added:+.2f} ms"
        rows.append((f"{concurrency} at once, {name}", text))
        servers[name][str(concurrency)] = cell
    loop_cell = {"frames_per_s": round(loop.frames_per_s, 2), "p50_ms": round(loop.p50_ms, 2)}
    return rows, {"loop": loop_cell, "servers": servers}


def _cells(names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for concurrency in CONCURRENCY:
        for name in names:
            yield concurrency, name


def _median(loads: list[Load]) -> Load:
    return Load(
        statistics.median(one.frames_per_s for one in loads),
        statistics.median(one.p50_ms for one in loads),
        statistics.median(one.p99_ms for one in loads),
    )


def _text(load: Load) -> str:
    return f"{load.frames_per_s:.1f} frames/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms"


if __name__ == "__main__":
    main()

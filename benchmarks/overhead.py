"""What the server adds to its engine: `python -m benchmarks.overhead`.

added_p50_ms, added_p99_ms
    One stream, one VGA gray frame at a time, the shipped pose bundle: round trip, from the picture
    at hand to the answer, minus that request's own engine time. Frames go in messages.
added_shm_p50_ms, added_shm_p99_ms
    The same through shared memory, in the same rounds; added_1080p_... and added_shm_1080p_... are
    both for 1920x1080 RGB.
floor_p50_ms, floor_p99_ms
    A frame of one px to a minimal grpc.aio echo and back, in the same rounds: what nobody who uses
    gRPC in Python gets below.
floor_engine_p50_ms, floor_engine_p99_ms
    The same where the echo computes the bundle's graph on a thread before it answers, minus the
    time of that: the floor of who has an engine, on these cores. floor_engine_vga_... is for a VGA
    gray frame.
throughput_ratio
    16 streams on a ResNet-18 at 256x256 in fp32 (about 20 ms) divided by a loop in one process
    that resizes and runs the same graph in batches of 8; rounds alternate A B A B, median.
echo_ratio
    Messages a second with the fake engine divided by a minimal grpc.aio echo of the same bytes.
added_cpu_ms
    CPU time of the server a frame with the shipped pose bundle and the fake engine, minus the echo
    server's: what sessions, scheduling and resizing cost. The real engine is left out of it: its
    threads wait for one another by spinning, the more the fewer cores the client leaves them.
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop

from benchmarks.load import LoadResult, run_load
from benchmarks.models import write_random_pose_bundle
from benchmarks.report import REPOSITORY, finish, percentile
from benchmarks.servers import ServerProcess, server_process
from service.bundle import read_bundle
from service.engine import Engine, create_engine, default_threads
from service.preprocess import to_model_input

SHIPPED = REPOSITORY / "deploy" / "models"
POSE = "openfield-mouse"

Measured = tuple[list[tuple[str, str]], dict[str, object]]
"""Rows of the table and the figures of the JSON line."""


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison")
    parser.add_argument("--latency-only", action="store_true", help="leave throughput and CPU out")
    parser.add_argument("--out", type=Path, help="file for the JSON line")
    arguments = parser.parse_args()

    rows: list[tuple[str, str]] = []
    result: dict[str, object] = {}
    for key, (what, values) in measure_added(arguments.rounds).items():
        for percent in (50, 99):
            value = percentile(values, percent)
            rows.append((f"1 stream, {what}, p{percent}", f"{value:.2f} ms"))
            result[f"{key}_p{percent}_ms"] = round(value, 3)
    if not arguments.latency_only:
        for more, of_it in (measure_rates(arguments.rounds), measure_cpu(arguments.rounds)):
            rows.extend(more)
            result.update(of_it)
    finish(rows, result, arguments.out)


def measure_added(rounds: int) -> dict[str, tuple[str, list[float]]]:
    """What is sent and how, and the added latency in ms of each request, one at a time."""
    px, vga, hd = frames(1, 1), frames(480, 640), frames(1080, 1920, 3)
    with (
        shipped_server() as shipped,
        server_process("benchmarks.echo_server") as echo,
        server_process("benchmarks.echo_server", "--bundle", str(SHIPPED / POSE / "1")) as engine,
    ):
        cases = {
            "floor": ("1 px to the minimal echo and back", echo, px, False),
            "floor_engine": ("the same around an engine", engine, px, False),
            "floor_engine_vga": ("the same around an engine, VGA gray", engine, vga, False),
            "added": ("added latency, VGA gray", shipped, vga, False),
            "added_shm": ("added latency, VGA gray, shared memory", shipped, vga, True),
            "added_1080p": ("added latency, 1080p RGB", shipped, hd, False),
            "added_shm_1080p": ("added latency, 1080p RGB, shared memory", shipped, hd, True),
        }
        added: dict[str, list[float]] = {key: [] for key in cases}
        for _ in range(rounds):
            for key, (_, server, pictures, shared) in cases.items():
                one = load(
                    server, pictures, bundle=POSE, streams=1, in_flight=1,
                    frames=60 if key == "added_1080p" else 200, shared=shared,
                )  # fmt: skip
                added[key] += one.added_ms
    return {key: (cases[key][0], values) for key, values in added.items()}


def measure_rates(rounds: int) -> Measured:
    """Frames/s with an engine that takes its time, and with one that takes none."""
    pictures = frames(480, 640)
    ratio, served, bare = measure_throughput(pictures, rounds)
    echo_ratio, ours, echo = measure_echo(pictures, rounds)
    rows = [
        ("16 streams, ResNet-18 256x256 fp32, served", f"{served:.1f} frames/s"),
        ("the same graph and resize in a bare loop, batch 8", f"{bare:.1f} frames/s"),
        ("served / bare", f"{ratio:.3f}"),
        ("fake engine, 16 in flight", f"{ours:.0f} frames/s"),
        ("minimal grpc.aio echo, 16 in flight", f"{echo:.0f} frames/s"),
        ("fake engine / echo", f"{echo_ratio:.3f}"),
    ]
    return rows, {"throughput_ratio": round(ratio, 3), "echo_ratio": round(echo_ratio, 3)}


def measure_throughput(pictures: list[np.ndarray], rounds: int) -> tuple[float, float, float]:
    """(median ratio, served, bare) in frames/s on a ResNet-18."""
    with TemporaryDirectory() as folder:
        models = Path(folder)
        bundle = write_random_pose_bundle(
            models, "bench", network="resnet18", width_px=256, height_px=256
        )
        engine = create_engine(
            bundle / "pose.onnx", engine="onnxruntime", precision="fp32", threads=default_threads()
        )
        served, bare = [], []
        command = ("ethostream.commands", "serve", "--models", folder, "--listen", "127.0.0.1:0")
        with server_process(*command, "--engine", "onnxruntime") as server:
            for _ in range(rounds):
                bare.append(bare_loop(engine, read_bundle(bundle).manifest.input, pictures, 160))
                one = load(server, pictures, bundle="bench", streams=16, in_flight=2, frames=20)
                served.append(one.frames_per_s)
    ratio = statistics.median(a / b for a, b in zip(served, bare, strict=True))
    return ratio, statistics.median(served), statistics.median(bare)


def measure_echo(pictures: list[np.ndarray], rounds: int) -> tuple[float, float, float]:
    """(median ratio, ours, echo) in frames/s with nothing to compute."""
    ours, echo = [], []
    with (
        fake_server() as fake,
        server_process("benchmarks.echo_server") as floor,
    ):
        for _ in range(rounds):
            for server, rates in ((fake, ours), (floor, echo)):
                one = load(server, pictures, bundle=POSE, streams=4, in_flight=4, frames=400)
                rates.append(one.frames_per_s)
    ratio = statistics.median(a / b for a, b in zip(ours, echo, strict=True))
    return ratio, statistics.median(ours), statistics.median(echo)


def measure_cpu(rounds: int) -> Measured:
    """CPU-ms a frame, median of the rounds: of the server with its engine, with none, of the echo.

    What is added is the median of what the server takes more than the echo in each round.
    """
    pictures = frames(480, 640)
    count = 400
    taken: dict[str, list[float]] = {"shipped": [], "fake": [], "echo": []}
    with (
        shipped_server() as shipped,
        fake_server() as fake,
        server_process("benchmarks.echo_server") as echo,
    ):
        servers = {"shipped": shipped, "fake": fake, "echo": echo}
        for process in servers.values():
            load(process, pictures, bundle=POSE, streams=1, in_flight=2, frames=50)
        for _ in range(rounds):
            for name, process in servers.items():
                before = process.cpu_seconds()
                load(
                    process, pictures, bundle=POSE, streams=1, in_flight=2, frames=count, warm_up=1
                )
                taken[name].append((process.cpu_seconds() - before) / count * 1e3)
    added = statistics.median(a - b for a, b in zip(taken["fake"], taken["echo"], strict=True))
    shipped_ms, fake_ms, echo_ms = (statistics.median(each) for each in taken.values())
    rows = [
        ("CPU of the server a frame, shipped pose bundle", f"{shipped_ms:.2f} CPU-ms"),
        ("the same with the fake engine", f"{fake_ms:.2f} CPU-ms"),
        ("the minimal echo", f"{echo_ms:.2f} CPU-ms"),
        ("added CPU a frame", f"{added:.2f} CPU-ms"),
    ]
    return rows, {"added_cpu_ms": round(added, 3)}


def frames(*shape: int) -> list[np.ndarray]:
    """Eight noisy pictures."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, np.uint8) for _ in range(8)]


def bare_loop(engine: Engine, spec: object, pictures: list[np.ndarray], frames: int) -> float:
    """Frames/s of resizing and running batches of 8 in one process."""
    batch = 8
    stack = [to_model_input(picture, spec)[0] for picture in pictures[:batch]]  # type: ignore[arg-type]
    engine.run({"frames": np.stack(stack)})
    began = time.perf_counter()
    for _ in range(frames // batch):
        stack = [to_model_input(picture, spec)[0] for picture in pictures[:batch]]  # type: ignore[arg-type]
        engine.run({"frames": np.stack(stack)})
    return frames / (time.perf_counter() - began)


def shipped_server():
    """Start `ethostream serve` with the shipped pose bundle."""
    return server_process(
        "ethostream.commands", "serve", "--models", str(SHIPPED), "--load", POSE,
        "--listen", "127.0.0.1:0",
    )  # fmt: skip


def fake_server():
    """Start our server with the shipped pose bundle and the fake engine."""
    return server_process("benchmarks.fake_server", "--models", str(SHIPPED), "--bundle", POSE)


def load(server: ServerProcess, pictures: list[np.ndarray], **settings: object) -> LoadResult:
    """Run one load to its end."""

    async def run() -> LoadResult:
        return await asyncio.wait_for(
            run_load(
                server.port,
                pictures=[one.tobytes() for one in pictures],
                size=pictures[0].shape[1::-1],
                **settings,  # type: ignore[arg-type]
            ),
            120,
        )

    return uvloop.run(run())


if __name__ == "__main__":
    main()

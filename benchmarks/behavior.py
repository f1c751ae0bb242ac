"""Frames a second of the behavior presets on this machine, and which part takes how long.

Networks have random weights: speed does not depend on them. Each part is timed alone, in batches,
on the engine that serves; a frame costs the sum of its parts. Sizes are those of Table 1 of the
paper (Bohnslav et al. 2021, eLife 10:e63377).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from benchmarks.report import finish
from export.behavior import export_behavior_graphs
from service.bundle import InputSpec
from service.engine import Engine, create_engine, default_threads
from service.simulation import SimulationSettings, simulate, write_recording
from training.behavior.counts import all_presets, counts
from training.behavior.presets import PRESETS, new_features, new_flow, new_sequence
from training.behavior.settings import BehaviorTraining, PresetName, StageSettings
from training.behavior.stages import Networks

_SIZES = ("256x256", "352x224", "224x224", "448x224", "192x128")
_BEHAVIORS = ("one", "two", "three", "four", "five", "six", "seven")
_REALTIME_FLOWS = 4
_DECODED_FRAMES = 120


def main() -> int:
    """Measure what the arguments name and print it."""
    arguments = _parser().parse_args()
    rows: list[dict[str, object]] = []
    for size in arguments.sizes:
        width_px, height_px = (int(part) for part in size.split("x"))
        gmac = {
            row.preset: row.gmac
            for row in counts(all_presets((width_px, height_px)))
            if row.stage == "total"
        }
        decode = _decode_seconds(width_px, height_px)
        for preset in arguments.presets:
            parts = {"decode": decode, **_stage_seconds(preset, width_px, height_px, arguments)}
            total = sum(parts.values())
            rows.append(
                {
                    "preset": preset,
                    "size": size,
                    "frames_per_s": 1 / total,
                    "gmac_per_frame": gmac[preset],
                    "share": {name: seconds / total for name, seconds in parts.items()},
                }
            )
    speeds = {(row["preset"], row["size"]): row["frames_per_s"] for row in rows}
    for row in rows:
        reference = speeds.get(("deg_f", row["size"]))
        row["speed_to_deg_f"] = row["frames_per_s"] / reference if reference else None  # type: ignore[operator]
    finish(
        [(f"{row['preset']} {row['size']}", _line(row)) for row in rows],
        {
            "benchmark": "behavior",
            "engine": arguments.engine,
            "precision": arguments.precision,
            "threads": arguments.threads,
            "batch_size": arguments.batch_size,
            "rows": rows,
        },
        arguments.out,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="speed of the behavior presets")
    add = parser.add_argument
    add("--presets", nargs="+", choices=tuple(PRESETS), default=list(PRESETS))
    add("--sizes", nargs="+", default=list(_SIZES), metavar="WxH", help="multiples of 32")
    add("--engine", choices=("openvino", "onnxruntime"), default="openvino")
    add("--precision", choices=("bf16", "fp32"), default="bf16")
    add("--threads", type=int, default=default_threads())
    add("--batch-size", type=int, default=4)
    add("--seconds", type=float, default=1.0, help="shortest time of each measurement")
    add("--out", type=Path, help="file of the JSON line")
    return parser


def _stage_seconds(
    preset: PresetName, width_px: int, height_px: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Seconds a frame of flow, features and sequence."""
    settings = preset_settings(preset, width_px, height_px)
    flow, features = new_flow(settings), new_features(settings, None)
    sequence = new_sequence(settings, features.feature_size)
    networks = Networks(flow.eval(), features.eval(), sequence.eval() if sequence else None)
    batch = arguments.batch_size
    random = np.random.default_rng(1)

    def frames(count: int) -> np.ndarray:
        shape = (batch, count, height_px, width_px, 3)
        return random.integers(0, 256, shape, np.uint8)

    flows = random.normal(
        size=(batch, settings.flow_frames, 2, height_px // 2, width_px // 2)
    ).astype(np.float32)
    pixels = frames(features.input_frames)
    inputs: dict[str, dict[str, np.ndarray]] = {
        "flow": {"frames": frames(flow.input_frames)},
        "features": {
            "frames": pixels if features.input_frames > 1 else pixels[:, 0],
            "flows": flows,
        },
        "sequence": _sequence_inputs(networks, features.feature_size, batch),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = export_behavior_graphs(networks, settings, Path(folder))
        found = {}
        for name, path in paths.items():
            engine = create_engine(
                path,
                engine=arguments.engine,
                precision=arguments.precision,
                threads=arguments.threads,
            )
            found[name] = _call_seconds(_calls(engine, inputs[name]), arguments.seconds) / batch
    return found


def _sequence_inputs(networks: Networks, feature_size: int, batch: int) -> dict[str, np.ndarray]:
    """What the service gives for a frame: its features and a state, or its window."""
    state_size = getattr(networks.sequence, "state_size", None)
    if state_size is not None:
        features = np.zeros((batch, 1, feature_size), np.float32)
        return {"features": features, "state": np.zeros((batch, state_size), np.float32)}
    length = networks.sequence.past_frames + 1 + networks.sequence.future_frames  # type: ignore[union-attr,operator]
    return {
        "features": np.zeros((batch, length, feature_size), np.float32),
        "valid": np.ones((batch, length), np.float32),
    }


def preset_settings(preset: PresetName, width_px: int, height_px: int) -> BehaviorTraining:
    """Return settings of a run that is never trained."""
    stage = StageSettings(epochs=1)
    return BehaviorTraining(
        data=(),
        data_sha256="",
        behaviors=_BEHAVIORS,
        exclusive=False,
        frame_rate_hz=30.0,
        input=InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="stretch"),
        preset=preset,
        backbone_weights=None,
        validation=(),
        test=(),
        flow_frames=PRESETS[preset].flow_frames or _REALTIME_FLOWS,
        sequence_model=PRESETS[preset].sequence,
        flow=stage,
        features=stage,
        sequence=stage,
    )


def _calls(engine: Engine, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
    return lambda: engine.run(inputs)


def _call_seconds(call: Callable[[], object], least_seconds: float) -> float:
    """Median time of a call, of three at least, after one that is not counted."""
    call()
    times: list[float] = []
    while len(times) < 3 or sum(times) < least_seconds:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _decode_seconds(width_px: int, height_px: int) -> float:
    """Seconds a frame of decoding H.264 of that size and converting it to RGB."""
    settings = SimulationSettings(
        width_px=width_px, height_px=height_px, duration_s=_DECODED_FRAMES / 30, frame_rate_hz=30
    )
    with tempfile.TemporaryDirectory() as folder:
        files = write_recording(simulate(settings), Path(folder), name="speed", codec="h264")
        path = next(Path(folder).rglob("*.mp4"))
        assert files
        began = time.perf_counter()
        count = 0
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")
                count += 1
        return (time.perf_counter() - began) / count


def _line(row: dict[str, object]) -> str:
    share = row["share"]
    assert isinstance(share, dict)
    parts = ", ".join(f"{name} {value:.0%}" for name, value in share.items())
    ratio = row["speed_to_deg_f"]
    relative = f"{ratio:6.2f} x deg_f" if isinstance(ratio, float) else ""
    return (
        f"{row['frames_per_s']:8.2f} frames/s {relative} {row['gmac_per_frame']:8.2f} GMAC  {parts}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Frames a second of every engine, precision and batch size, for shipped and untrained networks.

All graphs of a bundle are timed one after the other, in batches, without decoding and resizing; a
frame costs the sum. Engines take turns, one call each, and a ratio is the median over the turns of
the reference's time (ONNX Runtime in fp32) to the engine's own, so that what else the machine does
weighs on both. Rows are stored as they are measured; a run that was stopped goes on.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_bundles import random_bundle, random_inputs
from benchmarks.report import REPOSITORY, commit, finish
from export.parity import FASTEST_FIRST
from service.bundle import Bundle, find_bundles, read_bundle
from service.engine import Engine, default_threads, load_graph
from service.engine.tensorrt_library import RUNTIMES
from service.engine_names import ENGINES, PRECISIONS
from service.errors import EngineUnavailable

SHIPPED = ("openfield-mouse", "openfield-activity")
UNTRAINED = ("resnet50-640x480", "deg_f-224x224")
_REFERENCE = ("onnxruntime", "fp32")
_LEFT_OUT = ("onnxruntime:tensorrt",)
"""It builds for minutes while it is loaded; `tensorrt` is the same library without that."""
_LEAST_TURNS = 5
_GOAL = 3.0


def main() -> int:
    """Measure what the arguments name and print it."""
    arguments = _parser().parse_args()
    if arguments.quick:
        arguments.batch_sizes, arguments.seconds = [4], 0.3
    stored = _Rows(arguments.state, arguments)
    for name in arguments.bundles:
        if all(stored.has(name, batch) for batch in arguments.batch_sizes):
            continue
        with tempfile.TemporaryDirectory() as folder:
            bundle = _open(name, arguments.models, Path(folder))
            for batch in arguments.batch_sizes:
                if not stored.has(name, batch):
                    stored.add(name, batch, list(_measure(bundle, batch, arguments)))
    rows = [
        row
        for name in arguments.bundles
        for batch in arguments.batch_sizes
        for row in stored.of(name, batch)
    ]
    finish(
        [*_table(rows), *_summary(rows, arguments.bundles)],
        {
            "benchmark": "engines",
            "threads": arguments.threads,
            "goal_best_ratio": _GOAL,
            "best_ratio": {name: _best(rows, name) for name in arguments.bundles},
            "rows": rows,
        },
        arguments.out,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="speed of engines and precisions")
    add = parser.add_argument
    names = "of the model folder, or resnet50-WxH and deg_f-WxH with random weights"
    add("--bundles", nargs="+", default=[*SHIPPED, *UNTRAINED], metavar="NAME", help=names)
    add("--models", type=Path, default=REPOSITORY / "deploy" / "models", help="model folder")
    add("--batch-sizes", type=int, nargs="+", default=[1, 8])
    add("--threads", type=int, default=default_threads())
    add("--seconds", type=float, default=2.0, help="shortest time of each row")
    add("--quick", action="store_true", help="one batch size, short times: to see that it works")
    done = "rows that are done; those of this commit and settings are not measured anew"
    add("--state", type=Path, default=REPOSITORY / "runs" / "benchmark-engines.jsonl", help=done)
    add("--fresh", action="store_true", help="measure rows anew that are there already")
    add("--out", type=Path, help="file of the JSON line")
    return parser


class _Rows:
    """Rows that are done, in a file of one JSON object per bundle and batch size."""

    def __init__(self, path: Path, arguments: argparse.Namespace) -> None:
        self._path = path
        self._same = {
            "commit": commit(),
            "threads": arguments.threads,
            "seconds": arguments.seconds,
            "models": str(arguments.models),
        }
        self._done: dict[tuple[str, int], list[dict[str, object]]] = {}
        if path.is_file() and not arguments.fresh:
            for line in path.read_text(encoding="utf-8").splitlines():
                one = _read(line)
                if one and one["settings"] == self._same:
                    self._done[one["bundle"], one["batch"]] = one["rows"]

    def has(self, bundle: str, batch: int) -> bool:
        return (bundle, batch) in self._done

    def of(self, bundle: str, batch: int) -> list[dict[str, object]]:
        return self._done[bundle, batch]

    def add(self, bundle: str, batch: int, rows: list[dict[str, object]]) -> None:
        self._done[bundle, batch] = rows
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            line = {"settings": self._same, "bundle": bundle, "batch": batch, "rows": rows}
            # The line feed in front ends what a run that was killed left of its last line.
            file.write("\n" + json.dumps(line) + "\n")
        for label, text in _table(rows):
            print(f"{label}  {text}", file=sys.stderr, flush=True)


def _read(line: str) -> Mapping[str, Any] | None:
    """Return a stored line, or None of an empty one and of the torn one of a killed run."""
    try:
        found: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


def _open(name: str, models: Path, folder: Path) -> Bundle:
    """Return a bundle of the model folder, or one with random weights."""
    versions = find_bundles(models).get(name)
    return read_bundle(versions[max(versions)]) if versions else random_bundle(name, folder)


def _measure(
    bundle: Bundle, batch: int, arguments: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """Time all engines and precisions of one bundle in turns."""
    graphs = bundle.manifest.graph_names
    inputs = {graph: random_inputs(bundle.manifest, graph, batch) for graph in graphs}
    loaded = dict(_load(bundle, arguments.threads))
    times: dict[tuple[str, str], list[float]] = {key: [] for key in loaded}
    for engines in loaded.values():
        for graph in graphs:  # what is prepared at the first call does not count
            engines[graph].run(inputs[graph])
    until = time.perf_counter() + arguments.seconds * len(loaded)
    while time.perf_counter() < until or len(times[_REFERENCE]) < _LEAST_TURNS:
        for key, engines in loaded.items():
            began = time.perf_counter()
            for graph in graphs:
                engines[graph].run(inputs[graph])
            times[key].append(time.perf_counter() - began)
    reference = np.array(times[_REFERENCE])
    gate = _gate(bundle)
    for (engine, precision), taken in times.items():
        yield {
            "bundle": bundle.name,
            "engine": engine,
            "precision": precision,
            "batch": batch,
            "frames_per_s": batch / float(np.median(taken)),
            "ratio_to_ort_fp32": float(np.median(reference / np.array(taken))),
            "gate_passed": gate.get((engine, precision)),
        }


def _load(bundle: Bundle, threads: int) -> Iterator[tuple[tuple[str, str], dict[str, Engine]]]:
    """Load the graphs in everything that this machine has and the bundle holds, reference first."""
    pairs = [
        (engine, precision)
        for engine in ENGINES
        for precision in PRECISIONS[engine]
        if engine not in _LEFT_OUT and _is_held(bundle, engine, precision)
    ]
    for engine, precision in sorted(pairs, key=lambda pair: pair != _REFERENCE):
        try:
            engines = {
                graph: load_graph(
                    bundle, graph, engine=engine, precision=precision, threads=threads
                )
                for graph in bundle.manifest.graph_names
            }
        except EngineUnavailable as error:
            if (engine, precision) == _REFERENCE:
                raise
            print(f"left out: {bundle.name} on {engine} in {precision}: {error}", file=sys.stderr)
            continue
        yield (engine, precision), engines


def _is_held(bundle: Bundle, engine: str, precision: str) -> bool:
    """Whether the bundle holds what the pair computes, and the machine does not only emulate it."""
    if engine in RUNTIMES:
        return any(one.runtime == engine for one in bundle.manifest.engines)
    if precision == "bf16":
        from service.engine.openvino import cpu_computes_bf16

        return cpu_computes_bf16()
    return precision != "int8" or bool(bundle.manifest.quantized)


def _gate(bundle: Bundle) -> dict[tuple[str, str], bool]:
    """Engine and precision to whether they passed when the bundle was exported."""
    text = bundle.document("parity")
    rows = json.loads(text)["rows"] if text else []
    return {(row["engine"], row["precision"]): row["passed"] for row in rows}


def _table(rows: Sequence[Mapping[str, object]]) -> list[tuple[str, str]]:
    names = {True: "passed", False: "FAILED", None: "-"}
    return [
        (
            f"{row['bundle']} x{row['batch']} {row['engine']} {row['precision']}",
            f"{row['frames_per_s']:9.2f} frames/s  {row['ratio_to_ort_fp32']:5.2f} x ONNX Runtime "
            f"fp32  gate {names[row['gate_passed']]}",  # type: ignore[index]
        )
        for row in rows
    ]


def _summary(rows: Sequence[Mapping[str, object]], bundles: Sequence[str]) -> list[tuple[str, str]]:
    lines = []
    for name in bundles:
        found = _best(rows, name)
        lines.append((f"best of {name}", f"{found:.2f} x ONNX Runtime fp32 (goal {_GOAL:g})"))
    return lines


def _best(rows: Sequence[Mapping[str, object]], bundle: str) -> float:
    """The largest ratio on a processor, of the precisions that did not fail the gate."""
    return max(
        float(str(row["ratio_to_ort_fp32"]))
        for row in rows
        if row["bundle"] == bundle
        and row["gate_passed"] is not False
        and row["engine"] in ("onnxruntime", "openvino")
        and row["precision"] in FASTEST_FIRST
    )


if __name__ == "__main__":
    sys.exit(main())

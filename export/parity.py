"""The parity gate: how far each engine and precision is from the trained network on real frames.

The reference is torch in fp32. A precision that fails is left out of the bundle; where fp32
fails, the export is refused, since then graph and network differ.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TypeVar

import msgspec

from service.engine.tensorrt_library import RUNTIMES, load_library
from service.errors import BundleInvalid, EngineUnavailable

CANDIDATES = (
    ("onnxruntime", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "fp32"),
    ("onnxruntime:cuda", "fp32"),
)
"""Engine and precision that an exported graph is tried in, where the machine has them."""
INT8_CANDIDATES = (("onnxruntime", "int8"), ("openvino", "int8"))
"""Those that its quantized form is tried in."""
FASTEST_FIRST = ("int8", "bf16", "fp16", "fp32")
"""The order of a manifest's precisions, the same for every engine: with fewer bits, less is
computed and moved. `python -m benchmarks.engines` measures whether it holds for a bundle."""

_Answers = TypeVar("_Answers")


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a task's own judge says of one engine's answers."""

    passed: bool
    figures: dict[str, float]
    """Measured differences, with units in their names."""
    worst_frame: str = ""
    """Recording or picture, and index, of the frame with the largest difference."""


class ParityRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine and precision."""

    engine: str
    engine_version: str
    precision: str
    passed: bool
    figures: dict[str, float]
    worst_frame: str = ""


class ParityReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of PARITY.json."""

    reference: str
    samples: int
    """Number of frames that were compared."""
    gate: str
    """The limits in words."""
    quantization: str = ""
    """How the int8 graphs were made; empty where there are none."""
    rows: tuple[ParityRow, ...]

    def precisions(self) -> dict[str, tuple[str, ...]]:
        """Return the manifest's `precisions`: what passed, by engine, in `FASTEST_FIRST` order."""
        passed: dict[str, list[str]] = {}
        for row in self.rows:
            if row.passed:
                passed.setdefault(row.engine, []).append(row.precision)
        return {
            engine: tuple(sorted(found, key=FASTEST_FIRST.index))
            for engine, found in passed.items()
        }

    def has_passed(self, precision: str) -> bool:
        """Say whether any engine passed in `precision`."""
        return any(row.passed for row in self.rows if row.precision == precision)

    @property
    def all_passed(self) -> bool:
        """Whether every row passed."""
        return all(row.passed for row in self.rows)

    def with_int8(self, other: "ParityReport", *, quantization: str) -> "ParityReport":
        """Return this report with the rows of the quantized graphs, measured on the same frames."""
        return msgspec.structs.replace(
            self, rows=(*self.rows, *other.rows), quantization=quantization
        )


def compare_engines(
    compute: Callable[[str, str], _Answers],
    reference: _Answers,
    judge: Callable[[str, _Answers, _Answers], Verdict],
    *,
    samples: int,
    gate: str,
    candidates: Sequence[tuple[str, str]] = CANDIDATES,
) -> ParityReport:
    """Run every candidate that this machine has and judge its answers.

    Args:
        compute: engine and precision to the answers on the frames; raises EngineUnavailable
            where the machine lacks them.
        reference: the answers of torch in fp32 on the same frames.
        judge: precision, reference and answers to a verdict.
        samples: number of frames.
        gate: the judge's limits in words.
        candidates: pairs of engine and precision.

    Raises:
        BundleInvalid: an engine disagrees in fp32, or no engine could be run.
    """
    rows = []
    for engine, precision in candidates:
        if precision == "bf16" and not _computes_bf16(engine):
            continue
        try:
            answers = compute(engine, precision)
        except EngineUnavailable:
            continue
        verdict = judge(precision, reference, answers)
        row = parity_row(engine, precision, verdict)
        if precision == "fp32" and not row.passed:
            raise BundleInvalid(_refusal(row, gate, samples))
        rows.append(row)
    if not rows:
        raise BundleInvalid(
            "no engine is installed to compare the graph with; run `uv sync --extra cpu`"
        )
    return ParityReport(reference="torch fp32", samples=samples, gate=gate, rows=tuple(rows))


def _refusal(row: ParityRow, gate: str, samples: int) -> str:
    if row.figures.get("confident_points") == 0:
        return (
            f"the network is confident of no keypoint on {samples} frames, so nothing could be "
            "compared and no bundle is written: train longer, on more labels, or from ImageNet "
            "weights"
        )
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.figures.items())
    worst = f", most of all in {row.worst_frame}" if row.worst_frame else ""
    return (
        f"{row.engine} in fp32 disagrees with torch{worst} ({figures}; the gate is: {gate}); the "
        "graph is not what was trained, so no bundle is written: correct the export"
    )


def parity_row(engine: str, precision: str, verdict: Verdict) -> ParityRow:
    """Return what a judge said of one engine and precision as a row of PARITY.json."""
    return ParityRow(
        engine=engine,
        engine_version=_version(engine),
        precision=precision,
        passed=verdict.passed,
        figures=verdict.figures,
        worst_frame=verdict.worst_frame,
    )


def _computes_bf16(engine: str) -> bool:
    """Say whether bf16 is more than an emulation here; where it is not, nothing is learned."""
    if engine != "openvino" or find_spec("openvino") is None:
        return False
    from service.engine.openvino import cpu_computes_bf16

    return cpu_computes_bf16()


def _version(engine: str) -> str:
    """Version of the library; that of ONNX Runtime goes by other names where it is for a GPU."""
    if engine in RUNTIMES:
        return load_library(engine).version
    module = engine.partition(":")[0]
    for package in (module, f"{module}-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"

"""The parity gate: how far each engine and precision is from the trained network on real frames.

The reference is torch in fp32. A precision that fails is left out of the bundle; where fp32
fails, the export is refused, since then graph and network differ.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TypeVar

import msgspec

from service.errors import BundleInvalid, EngineUnavailable

CANDIDATES = (("onnxruntime", "fp32"), ("openvino", "bf16"), ("openvino", "fp32"))
"""Engine and precision; of one engine the fastest first, as the manifest lists them."""

_Answers = TypeVar("_Answers")


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a task's own judge says of one engine's answers."""

    passed: bool
    figures: dict[str, float]
    """Measured differences, with units in their names."""


class ParityRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine and precision."""

    engine: str
    engine_version: str
    precision: str
    passed: bool
    figures: dict[str, float]


class ParityReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of PARITY.json."""

    reference: str
    samples: int
    """Number of frames that were compared."""
    gate: str
    """The limits in words."""
    rows: tuple[ParityRow, ...]

    def precisions(self) -> dict[str, tuple[str, ...]]:
        """Return the manifest's `precisions`: what passed, by engine."""
        passed: dict[str, tuple[str, ...]] = {}
        for row in self.rows:
            if row.passed:
                passed[row.engine] = (*passed.get(row.engine, ()), row.precision)
        return passed


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
        row = ParityRow(
            engine=engine,
            engine_version=_version(engine),
            precision=precision,
            passed=verdict.passed,
            figures=verdict.figures,
        )
        if precision == "fp32" and not row.passed:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in row.figures.items())
            raise BundleInvalid(
                f"{engine} in fp32 disagrees with torch ({figures}; the gate is: {gate}); the "
                "graph is not what was trained, so no bundle is written: correct the export"
            )
        rows.append(row)
    if not rows:
        raise BundleInvalid(
            "no engine is installed to compare the graph with; run `uv sync --extra cpu`"
        )
    return ParityReport(reference="torch fp32", samples=samples, gate=gate, rows=tuple(rows))


def _computes_bf16(engine: str) -> bool:
    """Say whether bf16 is more than an emulation here; where it is not, nothing is learned."""
    if engine != "openvino" or find_spec("openvino") is None:
        return False
    from service.engine.openvino import cpu_computes_bf16

    return cpu_computes_bf16()


def _version(engine: str) -> str:
    try:
        return version(engine)
    except PackageNotFoundError:
        return "unknown"

import msgspec
import pytest

from export.parity import CANDIDATES, INT8_CANDIDATES, Verdict, compare_engines
from service.errors import BundleInvalid, EngineUnavailable


def within_one(precision: str, reference: float, answer: float) -> Verdict:
    distance = abs(answer - reference)
    figures = {"distance": distance}
    return Verdict(passed=distance <= 1, figures=figures, worst_frame="frame 7 of mouse3")


def compare(answers: dict[tuple[str, str], float]):
    def compute(engine: str, precision: str) -> float:
        if (engine, precision) not in answers:
            raise EngineUnavailable("not here")
        return answers[engine, precision]

    candidates = [("onnxruntime", "fp32"), ("openvino", "int8"), ("openvino", "fp32")]
    return compare_engines(
        compute, 10.0, within_one, samples=3, gate="at most 1", candidates=candidates
    )


def test_a_precision_that_fails_is_reported_and_left_out() -> None:
    report = compare(
        {("onnxruntime", "fp32"): 10, ("openvino", "int8"): 12, ("openvino", "fp32"): 10.5}
    )
    assert [(row.precision, row.passed) for row in report.rows] == [
        ("fp32", True),
        ("int8", False),
        ("fp32", True),
    ]
    assert report.precisions() == {"onnxruntime": ("fp32",), "openvino": ("fp32",)}


def test_the_fastest_passing_precision_of_an_engine_comes_first() -> None:
    report = compare({("openvino", "int8"): 10.2, ("openvino", "fp32"): 10})
    assert report.precisions() == {"openvino": ("int8", "fp32")}
    turned = msgspec.structs.replace(report, rows=report.rows[::-1])
    assert turned.precisions() == report.precisions()
    assert report.rows[0].worst_frame == "frame 7 of mouse3"


def test_int8_is_only_compared_where_there_is_a_quantized_graph() -> None:
    assert not [pair for pair in CANDIDATES if pair[1] == "int8"]
    assert {precision for _, precision in INT8_CANDIDATES} == {"int8"}


def test_rows_of_quantized_graphs_join_those_in_float() -> None:
    report = compare({("onnxruntime", "fp32"): 10})
    other = compare({("openvino", "int8"): 10.5})
    joined = report.with_int8(other, quantization="on 3 frames")
    assert joined.precisions() == {"onnxruntime": ("fp32",), "openvino": ("int8",)}
    assert joined.quantization == "on 3 frames"
    assert joined.has_passed("int8")
    assert not report.has_passed("int8")
    assert not report.with_int8(compare({("openvino", "int8"): 12}), quantization="").has_passed(
        "int8"
    )


def test_fp32_that_disagrees_refuses_the_export() -> None:
    wanted = r"openvino in fp32 disagrees with torch.*frame 7 of mouse3 \(distance 5"
    with pytest.raises(BundleInvalid, match=wanted):
        compare({("onnxruntime", "fp32"): 10, ("openvino", "fp32"): 15})


def test_a_network_that_is_confident_of_nothing_is_told_as_such() -> None:
    with pytest.raises(BundleInvalid, match=r"confident of no keypoint on 3 frames.*train longer"):
        compare_engines(
            lambda engine, precision: 0.0,
            0.0,
            lambda *_: Verdict(passed=False, figures={"confident_points": 0.0}),
            samples=3,
            gate="",
            candidates=[("onnxruntime", "fp32")],
        )


def test_a_machine_without_engines_cannot_export() -> None:
    with pytest.raises(BundleInvalid, match="no engine is installed"):
        compare({})

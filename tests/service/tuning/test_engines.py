"""Every engine that works here is timed with every number of threads, in growing batches."""

from pathlib import Path

import pytest

from service.bundle import read_bundle
from service.engine import default_threads
from service.tuning import engines
from service.tuning.engines import EngineSetting, engine_settings, measure_engines, threads_to_try

MODELS = Path(__file__).parents[3] / "clients" / "testdata" / "models"
SHIPPED = Path(__file__).parents[3] / "deploy" / "models"


@pytest.fixture(scope="module")
def bundles():
    return [read_bundle(MODELS / name / "1") for name in ("vector-points", "vector-motion")]


def test_only_precisions_that_all_bundles_passed_are_tried(bundles):
    settings = engine_settings(bundles)
    on_the_processor = [
        (one.engine, one.precision) for one in settings if one.engine in ("openvino", "onnxruntime")
    ]
    assert on_the_processor == [("openvino", "fp32"), ("onnxruntime", "fp32")]


def test_auto_is_tried_where_it_gives_bundles_different_precisions(bundles):
    quantized = read_bundle(SHIPPED / "openfield-mouse" / "1")
    passed = quantized.manifest.precisions["onnxruntime"]
    assert "int8" in passed
    settings = [
        one for one in engine_settings([quantized, bundles[0]]) if one.engine == "onnxruntime"
    ]
    assert EngineSetting("onnxruntime", "fp32", ("fp32", "fp32")) in settings
    assert EngineSetting("onnxruntime", "int8", ("int8", "fp32")) not in settings
    assert all(one.precision == "auto" for one in settings if len(set(one.precisions)) > 1)


def test_each_combination_is_timed_once_in_growing_batches(bundles):
    settings = [
        EngineSetting("onnxruntime", "fp32", ("fp32", "fp32")),
        EngineSetting("onnxruntime", "auto", ("fp32", "fp32")),
    ]
    timings = list(
        measure_engines(bundles, settings, most_seconds=600.0, seconds=0.001, threads=(1, 2))
    )
    timed = [(one.bundle.name, one.threads, one.batch_size) for one in timings]
    assert len(set(timed)) == len(timed)
    assert timed == [
        (name, threads, size)
        for name in ("vector-points", "vector-motion")
        for threads in (1, 2)
        for size in engines.BATCH_SIZES
    ]
    assert all(0 < one.median_seconds <= one.p95_seconds for one in timings)


def test_batches_end_with_the_first_that_takes_too_long(bundles):
    settings = [EngineSetting("openvino", "fp32", ("fp32",))]
    timings = list(
        measure_engines(bundles[:1], settings, most_seconds=0.0, seconds=0.001, threads=(1,))
    )
    assert [one.batch_size for one in timings] == [1]


def test_threads_double_up_to_the_processors_and_do_not_matter_to_a_gpu(monkeypatch):
    monkeypatch.setattr(engines, "default_threads", lambda: 6)
    assert threads_to_try("openvino") == (1, 2, 4, 6)
    assert threads_to_try("onnxruntime", (3,)) == (3,)
    assert threads_to_try("tensorrt") == (6,)
    monkeypatch.setattr(engines, "default_threads", lambda: 1)
    assert threads_to_try("openvino") == (1,)
    monkeypatch.undo()
    assert threads_to_try("openvino")[-1] == default_threads()

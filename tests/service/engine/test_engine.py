"""What is asked for by name is what computes, and `auto` takes the first that works here."""

from importlib.util import find_spec

import msgspec
import numpy as np
import pytest

from service.engine import AUTO_ORDER, ENGINES, choose_engine, create_engine, engine_file
from service.engine.cuda import Gpu
from service.engine.provider_library import find_load_failure
from service.engine_names import PRECISIONS
from service.errors import EngineUnavailable
from tests.conftest import has_gpu

without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU here")


def test_every_engine_has_precisions_and_fp32_among_them():
    assert set(ENGINES) == set(PRECISIONS)
    assert all("fp32" in precisions for precisions in PRECISIONS.values())
    assert set(AUTO_ORDER) < set(ENGINES)


@without_gpu
def test_auto_takes_openvino_before_onnxruntime_where_there_is_no_gpu(mouse):
    engine, precision = choose_engine(mouse.manifest, "auto", "fp32")
    assert (engine, precision) == ("openvino", "fp32")


def test_int8_that_passed_the_gate_is_taken_when_it_stands_first(mouse):
    manifest = msgspec.structs.replace(mouse.manifest, precisions={"openvino": ("int8", "fp32")})
    assert choose_engine(manifest, "openvino", "auto") == ("openvino", "int8")


def test_a_precision_that_did_not_pass_the_gate_is_refused(mouse):
    with pytest.raises(EngineUnavailable, match="did not pass the parity gate on onnxruntime in b"):
        choose_engine(mouse.manifest, "onnxruntime", "bf16")


def test_an_unknown_engine_is_refused_with_the_names_of_those_there_are(mouse):
    with pytest.raises(EngineUnavailable, match="unknown engine 'trt8'; choose one of onnx"):
        choose_engine(mouse.manifest, "trt8", "auto")
    with pytest.raises(EngineUnavailable, match="unknown engine 'trt8'"):
        create_engine(mouse.graph_path("pose"), engine="trt8", precision="fp32", threads=1)


def test_a_precision_that_an_engine_lacks_is_refused(mouse):
    with pytest.raises(EngineUnavailable, match="onnxruntime computes in fp32 or int8, not fp16"):
        create_engine(mouse.graph_path("pose"), engine="onnxruntime", precision="fp16", threads=1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_int8_graph_is_computed_on_the_cpu(int8_graph, engine):
    loaded = create_engine(int8_graph, engine=engine, precision="int8", threads=1)
    assert (loaded.engine, loaded.precision) == (f"{engine}:cpu", "int8")
    numbers = np.array([[0.1, 0.52, -1.0, 99.0]], np.float32)
    doubled = loaded.run({"numbers": numbers})["doubled"]
    np.testing.assert_allclose(doubled, [[0.2, 1.0, -2.0, 25.4]], atol=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime:cuda", "onnxruntime:tensorrt"])
def test_a_gpu_that_is_asked_for_by_name_is_never_replaced_by_the_cpu(mouse, engine):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is the ONNX Runtime for GPUs")
    with pytest.raises(EngineUnavailable, match=r"has no .*ExecutionProvider; run `uv sync --ex"):
        create_engine(mouse.graph_path("pose"), engine=engine, precision="fp32", threads=1)


def test_a_provider_that_is_there_without_its_libraries_is_not_taken(mouse, monkeypatch):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is the ONNX Runtime for GPUs")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("service.engine.find_gpu", lambda: Gpu("any", "sm_90"))
    with pytest.raises(EngineUnavailable, match=r"providers_cuda.*: cannot.*`uv sync --extra gpu`"):
        choose_engine(mouse.manifest, "onnxruntime:cuda", "auto")
    assert choose_engine(mouse.manifest, "auto", "auto")[0] in ("openvino", "onnxruntime")
    assert not find_load_failure("shared")  # the one that every package has


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_library_is_named_with_the_command_that_brings_it(mouse, monkeypatch, runtime):
    hidden = {"tensorrt", "tensorrt_rtx_bindings"}
    monkeypatch.setattr(
        "service.engine.tensorrt_library.find_spec",
        lambda name: None if name in hidden else find_spec(name),
    )
    with pytest.raises(EngineUnavailable, match=rf"run `uv sync --inexact --extra {runtime}`, or"):
        choose_engine(mouse.manifest, runtime, "auto")


def test_a_bundle_without_engines_says_how_to_build_them(mouse):
    pytest.importorskip("tensorrt_rtx_bindings", reason="uv sync --inexact --extra tensorrt-rtx")
    with pytest.raises(EngineUnavailable, match=r"ethostream export .* --engine tensorrt-rtx`"):
        choose_engine(mouse.manifest, "tensorrt-rtx", "auto")


def test_where_nothing_works_every_reason_is_told(mouse, monkeypatch):
    nothing = ("tensorrt", "onnxruntime")
    monkeypatch.setattr("service.engine.AUTO_ORDER", nothing)
    with pytest.raises(EngineUnavailable, match=r"tensorrt: .*; onnxruntime: .*fp16"):
        choose_engine(mouse.manifest, "auto", "fp16")


def test_the_int8_file_is_loaded_for_int8_and_the_fp32_file_otherwise(mouse):
    entry = msgspec.structs.replace(mouse.manifest.graphs["pose"], path="pose.int8.onnx")
    manifest = msgspec.structs.replace(mouse.manifest, quantized={"pose": entry})
    bundle = type(mouse)(directory=mouse.directory, manifest=manifest)
    names = {
        precision: engine_file(bundle, "pose", engine="openvino", precision=precision).name
        for precision in ("fp32", "bf16", "int8")
    }
    assert names == {"fp32": "pose.onnx", "bf16": "pose.onnx", "int8": "pose.int8.onnx"}

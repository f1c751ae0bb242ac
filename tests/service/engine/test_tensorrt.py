"""Engines of TensorRT-RTX: what can be known without a GPU, and on one what they answer."""

from pathlib import Path

import numpy as np
import pytest

from export.engines.builder import RTX_TARGETS, build_engine
from service.bundle import Bundle
from service.engine import create_engine
from service.engine.cuda import find_gpu
from service.engine.tensorrt_library import install_command, is_installed
from service.errors import BundleInvalid, EngineUnavailable
from service.graph_inputs import example_inputs
from tests.conftest import has_gpu

pytest.importorskip("tensorrt_rtx_bindings", reason="uv sync --inexact --extra tensorrt-rtx")


def build(bundle: Bundle, path: Path, runtime: str) -> Path:
    manifest = bundle.manifest
    shapes = {
        rows: {name: array.shape for name, array in example_inputs(manifest, "pose", rows).items()}
        for rows in (1, 4)
    }
    path.write_bytes(build_engine(bundle.graph_path("pose"), shapes, runtime=runtime).plan)
    return path


@pytest.fixture(scope="module")
def plan(mouse, tmp_path_factory) -> Path:
    """A real engine of the shipped pose graph."""
    return build(mouse, tmp_path_factory.mktemp("plan") / "pose.engine", "tensorrt-rtx")


def load(path: Path):
    return create_engine(path, engine="tensorrt-rtx", precision="fp32", threads=1)


@pytest.mark.parametrize("content", [b"", b"no engine at all", bytes(100_000)])
def test_a_file_that_is_no_engine_is_refused(tmp_path, content):
    path = tmp_path / "pose.engine"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid, match=r"is not an engine of TensorRT-RTX .* or it is dama"):
        load(path)


def test_an_engine_with_a_damaged_header_is_refused(plan, tmp_path):
    damaged = tmp_path / "pose.engine"
    damaged.write_bytes(b"xxxx" + plan.read_bytes()[4:])
    with pytest.raises(BundleInvalid, match="build it again with `ethostream export"):
        load(damaged)


def test_an_onnx_file_is_no_engine(mouse):
    with pytest.raises(BundleInvalid, match="is not an engine of TensorRT-RTX"):
        load(mouse.graph_path("pose"))


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_a_whole_engine_needs_a_gpu_and_says_so(plan):
    with pytest.raises(EngineUnavailable, match="no usable GPU here"):
        load(plan)


@pytest.mark.needs_gpu
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_the_engine_answers_as_onnx_runtime_does_for_any_number_of_rows(mouse, tmp_path, runtime):
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed; run `{install_command(runtime)}`")
    if runtime == "tensorrt-rtx" and find_gpu().compute_capability not in RTX_TARGETS:
        pytest.skip(f"TensorRT-RTX does not compute on {find_gpu()}")
    path = build(mouse, tmp_path / "pose.engine", runtime)
    engine = create_engine(path, engine=runtime, precision="fp32", threads=1)
    reference = create_engine(
        mouse.graph_path("pose"), engine="onnxruntime", precision="fp32", threads=1
    )
    spec = mouse.manifest.input
    rng = np.random.default_rng(1)
    for rows in (1, 3, 4, 9, 3):  # below, between, at and above the buckets, and again
        shape = (rows, spec.height_px, spec.width_px, spec.channels)
        inputs = {"frames": rng.integers(0, 256, shape, np.uint8)}
        found, wanted = engine.run(inputs)["keypoints"], reference.run(inputs)["keypoints"]
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found[..., 2], wanted[..., 2], atol=0.01)

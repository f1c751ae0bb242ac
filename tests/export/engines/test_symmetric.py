"""An int8 graph as TensorRT reads it answers nearly what the one of the bundle does."""

from pathlib import Path

import numpy as np
import pytest

from service.bundle import read_bundle
from service.engine import create_engine
from service.errors import BundleInvalid
from service.simulation import SimulationSettings, simulate

onnx = pytest.importorskip("onnx", reason="uv sync --extra cpu --extra train")

from export.engines.symmetric import convert_to_symmetric  # noqa: E402

BUNDLE = Path(__file__).resolve().parents[3] / "deploy" / "models" / "openfield-mouse" / "1"


def test_scales_are_symmetric_biases_float_and_keypoints_near(tmp_path):
    bundle = read_bundle(BUNDLE)
    model = onnx.load(bundle.graph_path("pose", "int8"))
    converted = convert_to_symmetric(model)
    kinds = {one.name: one for one in converted.graph.initializer}
    zeros = [
        onnx.numpy_helper.to_array(kinds[node.input[2]])
        for node in converted.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]
    assert len(zeros) > 100
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    assert not any(one.data_type == onnx.TensorProto.INT32 for one in kinds.values())

    path = tmp_path / "pose.onnx"
    onnx.save(converted, path)
    recording = simulate(SimulationSettings(width_px=384, height_px=288, duration_s=0.4))
    frames = np.stack(list(recording.frames()))[:4]
    answers = [
        create_engine(one, engine="onnxruntime", precision="fp32", threads=1).run(
            {"frames": frames}
        )["keypoints"]
        for one in (bundle.graph_path("pose"), path)
    ]
    confident = answers[0][..., 2] > 0.6
    assert confident.sum() > 8
    assert np.median(np.abs(answers[1] - answers[0])[..., :2][confident]) < 1.0  # px


def test_a_graph_in_float_is_refused():
    with pytest.raises(BundleInvalid, match="not quantized"):
        convert_to_symmetric(onnx.load(read_bundle(BUNDLE).graph_path("pose")))

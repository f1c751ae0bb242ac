from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export.calibrate import equalize, prepare_weights, watch_layers
from tests.export.small_network import batches_of, smooth_frames, write_small_network

pytestmark = pytest.mark.needs_train


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(write_small_network(tmp_path))


def layers_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def run(model: onnx.ModelProto, frames: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"frames": frames})[0]


def round_weights(model: onnx.ModelProto, layers: list[onnx.NodeProto]) -> None:
    """What int8 does to weights: 255 levels a channel."""
    names = {node.input[1] for node in layers}
    for tensor in model.graph.initializer:
        if tensor.name in names:
            weights = numpy_helper.to_array(tensor)
            step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
            rounded = (np.round(weights / step) * step).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))


def test_channels_before_a_depthwise_layer_get_one_range_and_the_answers_stay(
    model: onnx.ModelProto,
) -> None:
    frames = smooth_frames(8, seed=1)
    before = run(model, frames)
    layers = layers_of(model)
    seen = watch_layers(model, layers, batches_of(frames))
    peaks = seen[layers[1].name].peak
    assert peaks.max() > 8 * peaks[peaks > 0].min()
    scaled = equalize(model, layers, seen)
    assert set(scaled) == {layers[1].name, layers[3].name}  # the two depthwise ones
    np.testing.assert_allclose(run(model, frames), before, atol=1e-4)
    equal = watch_layers(model, layers, batches_of(frames))[layers[1].name].peak
    np.testing.assert_allclose(equal[peaks > 0.05], peaks.max(), rtol=1e-4)


def test_biases_make_up_for_rounded_weights(model: onnx.ModelProto) -> None:
    frames, others = smooth_frames(12, seed=1), smooth_frames(8, seed=2)
    wanted = run(model, others)
    plain, corrected = onnx.ModelProto(), onnx.ModelProto()
    plain.CopyFrom(model)
    corrected.CopyFrom(model)
    names = [node.name for node in layers_of(model)]
    prepare_weights(corrected, names, batches_of(frames))
    shifts = []
    for one in (plain, corrected):
        round_weights(one, layers_of(one))
        shifts.append(np.abs((run(one, others) - wanted).mean(axis=(0, 2, 3))).max())
    assert shifts[1] < 0.5 * shifts[0]


def test_prepared_weights_leave_no_constant_that_nothing_reads(model: onnx.ModelProto) -> None:
    names = [node.name for node in layers_of(model)]
    prepare_weights(model, names, batches_of(smooth_frames(4, seed=1)))
    onnx.checker.check_model(model, full_check=True)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read

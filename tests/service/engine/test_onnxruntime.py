"""ONNX Runtime computes on the device that was asked for, on buffers that are made once."""

import numpy as np
import onnxruntime as ort
import pytest

from service.engine.onnxruntime import BoundSession, OnnxRuntimeEngine
from service.errors import EngineFailed, EngineUnavailable


@pytest.fixture(scope="module")
def session(mouse) -> ort.InferenceSession:
    """The shipped pose graph on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    path = str(mouse.graph_path("pose"))
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_frames(mouse, rows: int) -> dict:
    spec = mouse.manifest.input
    shape = (rows, spec.height_px, spec.width_px, spec.channels)
    return {"frames": np.random.default_rng(rows).integers(0, 256, shape, np.uint8)}


def test_bound_buffers_give_the_answers_of_an_unbound_run(mouse, session):
    bound = BoundSession(session, "cpu")
    for rows in (1, 2, 1, 2):
        inputs = random_frames(mouse, rows)
        (found,) = bound.run(inputs)
        (wanted,) = session.run(None, inputs)
        np.testing.assert_array_equal(found, wanted)


def test_answers_of_one_batch_are_not_overwritten_by_the_next(mouse, session):
    bound = BoundSession(session, "cpu")
    (first,) = bound.run(random_frames(mouse, 1))
    kept = first.copy()
    bound.run({"frames": 255 - random_frames(mouse, 1)["frames"]})
    np.testing.assert_array_equal(first, kept)


def test_a_session_on_another_device_than_wanted_is_refused(mouse, monkeypatch):
    # A machine with the package for GPUs, but without a working driver: the session falls back.
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(
            EngineUnavailable,
            match=r"was to compute with CUDA.*, but cou.*libonnxruntime_providers_cuda.*: cannot",
        ),
    ):
        OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1, device="cuda")


def test_a_batch_of_another_shape_is_refused(mouse):
    engine = OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1)
    with pytest.raises(EngineFailed, match="could not compute a batch"):
        engine.run({"frames": np.zeros((1, 7, 7, 3), np.uint8)})


@pytest.mark.needs_gpu
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_gives_the_confidences_of_the_cpu(mouse, device):
    inputs = random_frames(mouse, 4)
    on_cpu = OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1).run(inputs)
    on_gpu = OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1, device=device).run(inputs)
    # Noise has no keypoint to agree on, but confidences are smooth.
    found, wanted = on_gpu["keypoints"][..., 2], on_cpu["keypoints"][..., 2]
    np.testing.assert_allclose(found, wanted, atol=0.01)

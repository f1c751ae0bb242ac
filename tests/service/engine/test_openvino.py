"""A batch that OpenVINO computes in parts is the batch, whatever its size and the threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

from service.engine import openvino
from service.engine.onnxruntime import OnnxRuntimeEngine
from service.engine.openvino import OpenVinoEngine
from service.errors import EngineFailed


@pytest.fixture(scope="module")
def frames(mouse) -> np.ndarray:
    """(9, H, W, C) uint8 of the bundle's input."""
    spec = mouse.manifest.input
    shape = (9, spec.height_px, spec.width_px, spec.channels)
    return np.random.default_rng(3).integers(0, 255, shape, dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_are_those_of_one_frame_at_a_time(mouse, frames, threads):
    engine = OpenVinoEngine(mouse.graph_path("pose"), threads=threads, precision="fp32")
    alone = np.concatenate(
        [engine.run({"frames": frames[row : row + 1]})["keypoints"] for row in range(len(frames))]
    )
    for rows in (2, 3, 5, 9):  # evenly cut and not
        found = engine.run({"frames": frames[:rows]})["keypoints"]
        assert found.flags.owndata
        np.testing.assert_allclose(found, alone[:rows], atol=1e-3)


def test_sizes_that_come_again_after_many_others_are_computed(mouse, frames, monkeypatch):
    monkeypatch.setattr(openvino, "_MOST_REQUESTS", 3)
    engine = OpenVinoEngine(mouse.graph_path("pose"), threads=2, precision="fp32")
    sizes = (1, 2, 5, 7, 1, 2, 9, 5)
    wanted = engine.run({"frames": frames})["keypoints"]
    for rows in sizes:
        found = engine.run({"frames": frames[:rows]})["keypoints"]
        np.testing.assert_array_equal(found, wanted[:rows])


@pytest.mark.parametrize("rows", [1, 3])
def test_a_graph_with_another_open_axis_takes_any_length_of_it(activity, rows):
    path = activity.graph_path("sequence")
    engine = OpenVinoEngine(path, threads=2, precision="fp32")
    reference = OnnxRuntimeEngine(path, threads=1)
    random = np.random.default_rng(5)
    for steps in (1, 4, 2):
        sizes = {0: rows, 1: steps}
        inputs = {
            spec.name: random.random(
                [size or sizes[axis] for axis, size in enumerate(spec.shape)], np.float32
            )
            for spec in engine.inputs
        }
        found, wanted = engine.run(inputs), reference.run(inputs)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-4)


def test_answers_stay_as_they_are_when_the_next_batch_is_computed(mouse, frames):
    engine = OpenVinoEngine(mouse.graph_path("pose"), threads=2, precision="fp32")
    first = engine.run({"frames": frames[:4]})["keypoints"]
    kept = first.copy()
    engine.run({"frames": frames[4:8]})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_batch_of_another_shape_is_refused_and_the_next_one_is_not(mouse, frames, rows):
    engine = OpenVinoEngine(mouse.graph_path("pose"), threads=2, precision="fp32")
    engine.run({"frames": frames[:rows]})
    for other in (frames[:rows, ..., :0], frames[:rows, ::2], frames[:rows].astype(np.float32)):
        with pytest.raises(EngineFailed, match="OpenVINO takes frames as uint8"):
            engine.run({"frames": other})
    assert len(engine.run({"frames": frames[:rows]})["keypoints"]) == rows


def test_nobody_is_told_of_the_use(tmp_path):
    code = "import service.engine.openvino, sys; print(sys.modules.get('openvino_telemetry'))"
    # Its telemetry leaves files at home, where it is none of a CI.
    environment = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout == "None\n"
    assert not list(tmp_path.iterdir())

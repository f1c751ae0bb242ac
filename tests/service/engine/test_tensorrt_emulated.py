"""Buckets, buffers and recordings of an engine, on an emulated GPU: what they do is no hardware's.

Where there is a GPU, test_tensorrt.py runs the real ones.
"""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

from service.engine.cuda import Gpu
from service.engine.device import DeviceArray, Rows
from service.engine.tensorrt import TensorRtEngine
from service.errors import BundleInvalid, EngineFailed
from tests.service.engine.emulated_gpu import Runtime, emulated_library

bindings = pytest.importorskip("cuda.bindings", reason="uv pip install cuda-bindings")


@pytest.fixture
def plan(tmp_path) -> Path:
    """What the emulated library takes for an engine."""
    path = tmp_path / "pose.engine"
    path.write_bytes(b"an engine")
    return path


@pytest.fixture
def emulate(monkeypatch):
    """Install an emulated GPU and library."""

    def install(runtime: str = "tensorrt", *, can_capture: bool = True) -> Runtime:
        cuda = Runtime(can_capture=can_capture)
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        monkeypatch.setattr(bindings, "runtime", cuda, raising=False)
        monkeypatch.setattr("service.engine.tensorrt.find_gpu", lambda: Gpu("emulated", "sm_90"))
        library = emulated_library(runtime, cuda, (1, 2, 4))
        monkeypatch.setattr("service.engine.tensorrt.load_library", lambda name: library)
        return cuda

    return install


def check(engine: TensorRtEngine, rows: int) -> None:
    frames = np.random.default_rng(rows).integers(0, 256, (rows, 3), np.uint8)
    doubled = engine.run({"frames": frames})["doubled"]
    np.testing.assert_array_equal(doubled, frames * 2.0)


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_batches_of_any_size_are_answered_row_by_row(plan, emulate, runtime):
    emulate(runtime)
    engine = TensorRtEngine(plan, runtime=runtime, precision="fp32")
    assert (engine.engine, engine.precision) == (f"{runtime}:cuda", "fp32")
    for rows in (1, 3, 4, 9, 3, 1, 11):
        check(engine, rows)


def test_a_bucket_is_recorded_after_its_first_batch_and_launched_from_then_on(plan, emulate):
    cuda = emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    check(engine, 2)
    assert cuda.launches == 0
    check(engine, 2)
    assert cuda.launches == 1
    check(engine, 4)
    assert cuda.launches == 1


def test_tensorrt_rtx_is_left_to_record_by_itself(plan, emulate):
    cuda = emulate("tensorrt-rtx")
    engine = TensorRtEngine(plan, runtime="tensorrt-rtx", precision="fp32")
    check(engine, 2)
    check(engine, 2)
    assert cuda.launches == 0


def test_an_engine_that_cannot_be_recorded_computes_all_the_same(plan, emulate):
    cuda = emulate(can_capture=False)
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    check(engine, 2)
    check(engine, 2)
    assert cuda.launches == 0


def test_answers_of_one_batch_are_not_overwritten_by_the_next(plan, emulate):
    emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    first = engine.run({"frames": np.full((2, 3), 5, np.uint8)})["doubled"]
    engine.run({"frames": np.full((2, 3), 9, np.uint8)})
    np.testing.assert_array_equal(first, np.full((2, 3), 10.0))


def test_rows_that_are_on_the_gpu_already_are_answered_like_those_of_the_host(plan, emulate):
    cuda = emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    for rows in (1, 3, 4, 9, 3):
        frames = np.random.default_rng(rows).integers(0, 256, (rows, 3), np.uint8)
        lying = [DeviceArray(row.ctypes.data, (3,), frames.dtype, None, frames) for row in frames]
        doubled = engine.run({"frames": Rows(lying)})["doubled"]
        np.testing.assert_array_equal(doubled, frames * 2.0)
        check(engine, rows)
    assert cuda.launches


def test_what_stays_on_the_gpu_is_not_overwritten_by_the_next_batch(plan, emulate):
    cuda = emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    engine.keep_on_device(["doubled"])
    kept = []
    for rows in (2, 2, 3, 9, 2):  # 9: in parts
        frames = np.random.default_rng(rows).integers(0, 256, (rows, 3), np.uint8)
        found = engine.run({"frames": frames})["doubled"]
        assert isinstance(found, Rows)
        kept.append((frames, found))
    assert cuda.launches
    for frames, found in kept:
        assert all(isinstance(one, DeviceArray) and one.shape == (3,) for one in found)
        np.testing.assert_array_equal(found.to_host(), frames * 2.0)


def test_an_engine_that_is_unloaded_gives_its_memory_back(plan, emulate):
    cuda = emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    check(engine, 1)
    assert cuda.memory
    del engine
    gc.collect()
    assert not cuda.memory


def test_a_batch_of_another_shape_is_refused_before_anything_is_copied(plan, emulate):
    emulate()
    engine = TensorRtEngine(plan, runtime="tensorrt", precision="fp32")
    with pytest.raises(EngineFailed, match=r"takes frames as uint8 \(any, 3\) and was given"):
        engine.run({"frames": np.zeros((1, 4), np.uint8)})


def test_what_the_library_says_of_an_engine_that_it_cannot_read_is_told(plan, emulate):
    emulate()
    plan.write_bytes(b"an eng")
    with pytest.raises(BundleInvalid, match=r"cannot read the engine pose.engine: the seri"):
        TensorRtEngine(plan, runtime="tensorrt", precision="fp32")

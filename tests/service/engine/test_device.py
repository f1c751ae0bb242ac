"""Rows are handed over on the GPU: never before they are written, never after that again."""

import sys

import numpy as np
import onnxruntime as ort
import pytest

from service.engine.cuda import Stream
from service.engine.device import DeviceArray, Rows
from service.engine.onnxruntime import BoundSession, OnnxRuntimeEngine
from service.engine.rows import check_rows, split_rows
from service.errors import EngineFailed
from tests.service.engine.emulated_streams import LazyRuntime

bindings = pytest.importorskip("cuda.bindings", reason="uv pip install cuda-bindings")


SHAPE = (3, 2, 132, 176, 1)
"""Of a batch of pairs of frames that the shipped behavior bundle takes."""


@pytest.fixture
def cuda(monkeypatch) -> LazyRuntime:
    runtime = LazyRuntime()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    monkeypatch.setattr(bindings, "runtime", runtime, raising=False)
    return runtime


class Decoder:
    """Writes pictures on a stream of its own, into one slot after the other."""

    def __init__(self, cuda: LazyRuntime, slots: int, shape: tuple[int, ...]) -> None:
        self.stream = Stream()
        self._cuda = cuda
        self._memory = np.zeros((slots, *shape), np.uint8)

    def decode(self, slot: int, value: int, *, marks: bool = True) -> DeviceArray:
        """Put a picture of one value on the stream."""
        target = self._memory[slot]

        def write() -> None:
            target[:] = value

        self._cuda.put(self.stream.handle, write)
        ready = self.stream.mark() if marks else None
        dtype = np.dtype(np.uint8)
        return DeviceArray(target.ctypes.data, target.shape, dtype, ready, self._memory)


def gathered(rows: Rows, stream: Stream, buffer: np.ndarray) -> np.ndarray:
    rows.gather(buffer.ctypes.data, stream)
    stream.wait()
    return buffer[: len(rows)].reshape(len(rows), -1).max(axis=1)


def test_an_engine_waits_for_every_row(cuda):
    decoder, stream = Decoder(cuda, 3, (4, 4)), Stream()
    buffer = np.zeros((3, 4, 4), np.uint8)
    rows = Rows([decoder.decode(slot, 10 + slot) for slot in range(3)])
    assert gathered(rows, stream, buffer).tolist() == [10, 11, 12]


def test_without_a_mark_an_engine_would_see_the_picture_before(cuda):
    """So the emulation shows a stale frame, and the test above would fail without the waiting."""
    decoder, stream = Decoder(cuda, 1, (4, 4)), Stream()
    buffer = np.zeros((1, 4, 4), np.uint8)
    rows = Rows([decoder.decode(0, 10, marks=False)])
    assert gathered(rows, stream, buffer).tolist() == [0]


def test_a_slot_may_be_written_again_when_the_engine_has_returned(cuda):
    decoder, stream = Decoder(cuda, 1, (4, 4)), Stream()
    buffer = np.zeros((1, 4, 4), np.uint8)
    for value in (3, 4, 5):
        assert gathered(Rows([decoder.decode(0, value)]), stream, buffer).tolist() == [value]


def test_rows_are_checked_and_cut_like_arrays(cuda, mouse):
    engine = OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1)
    spec = mouse.manifest.input
    shape = (spec.height_px, spec.width_px, spec.channels)
    decoder = Decoder(cuda, 5, shape)
    inputs = {"frames": Rows([decoder.decode(slot, slot) for slot in range(5)])}
    assert check_rows(inputs, engine.inputs, "an engine") == 5
    assert [len(part["frames"]) for part in split_rows(inputs, 5, 2)] == [2, 2, 1]
    small = {"frames": Rows([Decoder(cuda, 1, (8, 8, 1)).decode(0, 0)])}
    with pytest.raises(EngineFailed, match=r"was given uint8 \(1, 8, 8, 1\)"):
        check_rows(small, engine.inputs, "an engine")


def test_a_session_computes_on_rows_of_the_device_what_it_computes_on_those_of_the_host(
    cuda, mouse
):
    """ONNX Runtime itself, on the memory of the CPU in place of a GPU's."""
    session = ort.InferenceSession(
        str(mouse.graph_path("pose")), providers=["CPUExecutionProvider"]
    )
    stream = Stream()
    bound = BoundSession(session, "cpu", stream)
    spec = mouse.manifest.input
    shape = (spec.height_px, spec.width_px, spec.channels)
    decoder = Decoder(cuda, 2, shape)
    original = bound._session.run_with_iobinding

    class InOrder:
        """A session on the GPU computes behind what is on its stream already."""

        def __getattr__(self, name):
            return getattr(session, name)

        def run_with_iobinding(self, binding) -> None:
            stream.wait()
            original(binding)

    bound._session = InOrder()
    for values in ((40, 90), (90, 40), (7, 200)):
        rows = Rows([decoder.decode(slot, value) for slot, value in enumerate(values)])
        (found,) = bound.run({"frames": rows})
        frames = np.stack([np.full(shape, value, np.uint8) for value in values])
        (wanted,) = session.run(None, {"frames": frames})
        np.testing.assert_array_equal(found, wanted)


def test_what_a_session_keeps_on_the_device_is_not_overwritten_by_the_next_batch(cuda, activity):
    session = ort.InferenceSession(
        str(activity.graph_path("flow")), providers=["CPUExecutionProvider"]
    )
    bound = BoundSession(session, "cpu", Stream())
    bound.kept = frozenset(["flows"])
    batches = [np.random.default_rng(one).integers(0, 256, SHAPE, np.uint8) for one in range(4)]
    kept = [bound.run({"frames": frames})[0] for frames in batches]
    for frames, found in zip(batches, kept, strict=True):
        assert all(isinstance(one, DeviceArray) for one in found)
        (wanted,) = session.run(None, {"frames": frames})
        np.testing.assert_array_equal(found.to_host(), wanted)


def test_a_row_comes_back_to_the_host_as_it_was_written(cuda):
    decoder = Decoder(cuda, 1, (4, 6))
    row = decoder.decode(0, 9)
    assert row.nbytes == 24
    np.testing.assert_array_equal(row.to_host(), np.full((4, 6), 9, np.uint8))


def test_a_session_without_a_stream_refuses_rows_of_the_device(cuda, mouse):
    session = ort.InferenceSession(
        str(mouse.graph_path("pose")), providers=["CPUExecutionProvider"]
    )
    spec = mouse.manifest.input
    decoder = Decoder(cuda, 1, (spec.height_px, spec.width_px, spec.channels))
    with pytest.raises(EngineFailed, match="need its stream"):
        BoundSession(session, "cpu").run({"frames": Rows([decoder.decode(0, 1)])})


@pytest.mark.needs_gpu
def test_a_gpu_computes_on_its_own_rows_what_it_computes_on_those_of_the_host(mouse):
    from service.engine.cuda import Buffer

    engine = OnnxRuntimeEngine(mouse.graph_path("pose"), threads=1, device="cuda")
    spec = mouse.manifest.input
    shape = (4, spec.height_px, spec.width_px, spec.channels)
    stream, buffer = Stream(), Buffer(shape, np.dtype(np.uint8))
    for seed in range(20):
        frames = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        buffer.host[:] = frames
        buffer.upload(stream)
        ready, size = stream.mark(), frames[0].nbytes
        rows = [
            DeviceArray(buffer.address + place * size, shape[1:], frames.dtype, ready, buffer)
            for place in range(4)
        ]
        found = engine.run({"frames": Rows(rows)})["keypoints"]
        wanted = engine.run({"frames": frames})["keypoints"]
        np.testing.assert_array_equal(found, wanted)

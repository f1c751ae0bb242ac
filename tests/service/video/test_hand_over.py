"""Frames go from DALI to an engine by address, and each answer is that of its own frame.

DALI and ONNX Runtime are real, on the memory of the CPU; streams are emulated so that nothing is
done before somebody waits for it. Where there is a GPU, all of it is real.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest

from service.bundle import InputSpec
from service.engine.cuda import Stream
from service.engine.device import DeviceArray, Rows
from service.engine.onnxruntime import BoundSession, OnnxRuntimeEngine
from service.preprocess import CropRegion
from service.video.base import ModelInputs
from service.video.guarded import GuardedFile
from service.video.inputs import InputConverter
from service.video.pyav import VideoFile
from service.video.stretches import plan_stretches
from tests.service.engine.emulated_streams import LazyRuntime

pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")
bindings = pytest.importorskip("cuda.bindings", reason="uv pip install cuda-bindings")
onnx = pytest.importorskip("onnx", reason="onnx comes with the train extra")

FRAMES = 150
SPEC = InputSpec(width_px=64, height_px=48, color="gray", fit="stretch")


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video) -> Path:
    """Frames that show their number, as DALI decodes them on the CPU."""
    folder = tmp_path_factory.mktemp("hand over")
    options = {"g": "10", "cpu-used": "8", "deadline": "realtime"}
    return make_video(
        folder / "vp9.webm", frames=FRAMES, codec="libvpx-vp9", size=(128, 96), options=options
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """Answers with the frames themselves, as float32."""
    helper, types = onnx.helper, onnx.TensorProto
    shape = ["batch", SPEC.height_px, SPEC.width_px, SPEC.channels]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Cast", ["frames"], ["seen"], to=types.FLOAT)],
            "sees",
            [helper.make_tensor_value_info("frames", types.UINT8, shape)],
            [helper.make_tensor_value_info("seen", types.FLOAT, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    path = tmp_path_factory.mktemp("graph") / "sees.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def cuda(monkeypatch) -> LazyRuntime:
    runtime = LazyRuntime()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    monkeypatch.setattr(bindings, "runtime", runtime, raising=False)
    return runtime


def open_handing_over(path: Path, stream: Stream, device: str) -> GuardedFile:
    from service.video.dali import DaliSource

    truth = VideoFile(path)
    stretches = plan_stretches(truth.index, 20)
    source = DaliSource(
        path,
        stretches,
        CropRegion(0, 0, truth.stored.width_px, truth.stored.height_px),
        color="rgb",
        inputs=(SPEC,),
        device=device,
        pipelines=3,
        hand_over=stream,
    )
    made = InputConverter(truth, (SPEC,), None)
    return GuardedFile(truth, source, stretches, made, is_required=True)


def batches(video: GuardedFile, size: int) -> Iterator[tuple[list[int], Rows]]:
    numbers, rows = [], []
    for row in video.rows():
        assert isinstance(row.picture, ModelInputs)
        (array,) = row.picture.arrays
        assert isinstance(array, DeviceArray)
        numbers.append(row.frame_index)
        rows.append(array)
        if len(rows) == size or row.frame_index == FRAMES - 1:
            yield numbers, Rows(rows)
            numbers, rows = [], []


@pytest.mark.parametrize("size", [1, 7, 32])
def test_every_answer_is_that_of_its_own_frame(video, graph, cuda, read_number, size):
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    decodes, computes = Stream(), Stream()
    bound = BoundSession(_InOrder(session, computes), "cpu", computes)
    guarded = open_handing_over(video, decodes, "cpu")
    seen = []
    for numbers, rows in batches(guarded, size):
        (answers,) = bound.run({"frames": rows})
        seen += zip(numbers, (read_number(one[..., 0]) for one in answers), strict=True)
    assert seen == [(frame, frame) for frame in range(FRAMES)]
    assert guarded.note == ""


@pytest.mark.needs_gpu
@pytest.mark.parametrize("size", [1, 7, 32])
def test_every_answer_of_a_gpu_is_that_of_its_own_frame(
    tmp_path, make_video, graph, read_number, size
):
    options = {"bf": "3", "g": "12"}
    path = make_video(tmp_path / "h264.mp4", frames=FRAMES, size=(128, 96), options=options)
    engine = OnnxRuntimeEngine(graph, threads=1, device="cuda")
    for _ in range(5):
        guarded = open_handing_over(path, Stream(), "gpu")
        seen = []
        for numbers, rows in batches(guarded, size):
            answers = engine.run({"frames": rows})["seen"]
            seen += zip(numbers, (read_number(one[..., 0]) for one in answers), strict=True)
        assert seen == [(frame, frame) for frame in range(FRAMES)]
        assert guarded.note == ""


class _InOrder:
    """A session that computes behind what is on its stream already, as one of a GPU does."""

    def __init__(self, session: ort.InferenceSession, stream: Stream) -> None:
        self._session, self._stream = session, stream

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_with_iobinding(self, binding) -> None:
        self._stream.wait()
        self._session.run_with_iobinding(binding)

"""The minimal server of the comparison gives what the engine gives; all rows reach the table."""

import grpc
import numpy as np
import pytest

pytest.importorskip("onnx", reason="comes with the train extra")

from benchmarks.models import write_random_pose_bundle
from benchmarks.open_inference import MINIMAL, OURS, Load, Round, table
from benchmarks.servers import server_process
from service.engine import create_engine
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.servicer.open_inference import open_inference_pb2_grpc as pb2_grpc

pytestmark = pytest.mark.needs_train

_SLOWER = ((OURS, 2), (MINIMAL, 1.25))
"""Times of a loop for what a server answers in one."""


def test_the_minimal_server_answers_as_the_engine(tmp_path):
    bundle = write_random_pose_bundle(
        tmp_path, "bench", network="resnet18", width_px=64, height_px=64
    )
    graph = bundle / "pose.onnx"
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    engine = create_engine(graph, engine="onnxruntime", precision="fp32", threads=1)
    request = pb2.ModelInferRequest(
        model_name="bench", id="7", raw_input_contents=[frames.tobytes()]
    )
    request.inputs.add(name="frames", datatype="UINT8", shape=frames.shape)
    command = ("benchmarks.minimal_inference", "--graph", str(graph), "--name", "bench")
    with (
        server_process(*command, "--threads", "1") as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=30)
        (told,) = stub.ModelConfig(pb2.ModelConfigRequest(name="bench"), timeout=30).config.input
    wanted = engine.run({"frames": frames})["keypoints"]
    found = np.frombuffer(answer.raw_output_contents[0], np.float32)
    assert answer.id == "7"
    assert list(answer.outputs[0].shape) == list(wanted.shape)
    assert np.array_equal(found.reshape(wanted.shape), wanted)
    assert told.name == "frames"


def test_each_server_has_a_row_of_shares_of_the_loop():
    def at(rate: float) -> Load:
        return Load(rate, 1e3 / rate, 2e3 / rate)

    turns = [
        Round(at(loop), {(name, n): at(loop / part) for n in (1, 4, 16) for name, part in _SLOWER})
        for loop in (40.0, 50.0, 60.0)
    ]
    rows, found = table(turns, (OURS, MINIMAL))
    assert [row for row, _ in rows][:3] == [
        "loop, one frame at a time", f"1 at once, {OURS}", f"1 at once, {MINIMAL}",
    ]  # fmt: skip
    assert found["servers"][OURS]["4"]["share"] == 0.5
    assert found["servers"][MINIMAL]["1"] == {
        "frames_per_s": 40.0, "share": 0.8, "p50_ms": 25.0, "p99_ms": 50.0, "added_p50_ms": 5.0,
    }  # fmt: skip

"""Hot swap under load: every request is answered, by exactly one version."""

import shutil
import threading
from pathlib import Path

import grpc
import msgspec
import numpy as np
import pytest
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import model_service_pb2
from ethostream.v1.bundle_pb2 import BundleReference

from service.bundle import describe_file, read_bundle, write_manifest

from .conftest import SHIPPED_MODELS
from .wire import POSE, frame_message, selection

pytestmark = pytest.mark.needs_train  # onnx makes the second version

REQUESTS, THREADS, SWAPS = 1000, 4, 20
_MOVED_PX = 50.0
TIMEOUT_S = 300  # on a machine that does much else


@pytest.fixture
def two_versions(tmp_path: Path) -> Path:
    """A model folder whose version 2 answers the same keypoints 50 px further right."""
    import onnx
    from onnx import helper

    for version in (1, 2):
        folder = tmp_path / POSE / str(version)
        shutil.copytree(SHIPPED_MODELS / POSE / "1", folder)
        bundle = read_bundle(folder)
        if version == 2:
            graph = onnx.load(bundle.graph_path("pose"))
            answer = graph.graph.output[0].name
            for node in graph.graph.node:
                node.output[:] = ["unmoved" if one == answer else one for one in node.output]
            move = onnx.numpy_helper.from_array(np.array([_MOVED_PX, 0, 0], np.float32), "move")
            graph.graph.initializer.append(move)
            graph.graph.node.append(helper.make_node("Add", ["unmoved", "move"], [answer]))
            onnx.save(graph, folder / "pose.onnx")
        fp32 = {engine: ("fp32",) for engine in bundle.manifest.precisions}
        changes = {"version": version, "precisions": fp32, "quantized": {}}
        graphs = {"pose": describe_file(folder, "pose.onnx")}
        write_manifest(folder, msgspec.structs.replace(bundle.manifest, graphs=graphs, **changes))
    return tmp_path


def test_no_request_fails_across_hot_swaps_and_each_is_answered_by_one_version(
    start_server, two_versions: Path
) -> None:
    server = start_server(models=two_versions)
    pixels = np.random.default_rng(0).integers(0, 255, (72, 96, 3)).astype(np.uint8)
    answers: list[tuple[int, float]] = []
    failures: list[grpc.RpcError] = []
    swapped = threading.Event()

    def ask() -> None:
        stub = server.inference
        while not swapped.is_set() or len(answers) + len(failures) < REQUESTS:
            request = pb2.AnalyzeFrameRequest(
                frame=frame_message(0, pixels).frame, end_session=True
            )
            request.start.bundles.append(selection(POSE))
            try:
                response = stub.AnalyzeFrame(request, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                failures.append(error)
                continue
            (pose,) = response.outcome.result.poses
            answers.append((pose.bundle.version, pose.poses[0].x_px[0]))

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    models, loaded = server.models, 2
    for _ in range(SWAPS):
        other = 3 - loaded
        reference = BundleReference(name=POSE, version=other)
        models.LoadModel(model_service_pb2.LoadModelRequest(bundle=reference), timeout=TIMEOUT_S)
        reference = BundleReference(name=POSE, version=loaded)
        models.UnloadModel(
            model_service_pb2.UnloadModelRequest(bundle=reference), timeout=TIMEOUT_S
        )
        loaded = other
    swapped.set()
    for thread in threads:
        thread.join(2 * TIMEOUT_S)

    assert not failures, failures[0]
    assert len(answers) >= REQUESTS
    first, second = (np.array([x for one, x in answers if one == version]) for version in (1, 2))
    assert min(len(first), len(second)) > 0
    for found in (first, second):  # of one frame, whatever batch it was in
        np.testing.assert_allclose(found, found[0], atol=0.1)
    assert second[0] - first[0] > 5  # px of the frame as sent

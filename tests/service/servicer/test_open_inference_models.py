"""Bundles as models: their description, their life, who may do what, and what is counted."""

import shutil

import grpc
import numpy as np
import pytest
from ethostream.v1 import inference_service_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from export.triton.models import triton_models
from service.bundle import find_bundles, read_bundle
from service.servicer.open_inference import open_inference_pb2 as pb2
from service.version import program_version
from tests.service.servicer.conftest import EXACT, SHIPPED, TIMEOUT_S, VECTORS, serving
from tests.service.servicer.wire import BEHAVIOR, POSE, infer, infer_request, refused

Status = grpc.StatusCode
FRAMES = np.zeros((3, 24, 32, 1), np.uint8)
TOKENS = """
[rig]
token = "rig-token-0123456789"
scopes = ["infer"]

[operator]
token = "operator-token-0123456789"
scopes = ["infer", "models"]
"""


def index(served, **settings) -> dict[tuple[str, str], str]:
    request = pb2.RepositoryIndexRequest(**settings)
    answer = served.open_inference.RepositoryIndex(request, timeout=TIMEOUT_S)
    return {(one.name, one.version): one.state for one in answer.models}


def statistics(served, **settings) -> list[pb2.ModelStatistics]:
    request = pb2.ModelStatisticsRequest(**settings)
    return list(served.open_inference.ModelStatistics(request, timeout=TIMEOUT_S).model_stats)


def test_the_server_tells_what_it_is(vectors):
    answer = vectors.open_inference.ServerMetadata(pb2.ServerMetadataRequest(), timeout=TIMEOUT_S)
    assert (answer.name, answer.version) == ("ethostream", program_version())
    assert list(answer.extensions) == ["model_repository", "model_configuration", "statistics"]
    assert vectors.open_inference.ServerLive(pb2.ServerLiveRequest(), timeout=TIMEOUT_S).live
    assert vectors.open_inference.ServerReady(pb2.ServerReadyRequest(), timeout=TIMEOUT_S).ready


def test_models_tell_their_tensors_with_all_axes(vectors):
    found = {}
    for name in (POSE, BEHAVIOR):
        request = pb2.ModelMetadataRequest(name=name, version="1")
        answer = vectors.open_inference.ModelMetadata(request, timeout=TIMEOUT_S)
        assert (answer.name, list(answer.versions)) == (name, ["1"])
        assert answer.platform == "onnxruntime:cpu"
        assert [(one.name, one.datatype, list(one.shape)) for one in answer.inputs] == [
            ("frames", "UINT8", [-1, -1, -1, -1])
        ]
        found[name] = [(one.name, one.datatype, list(one.shape)) for one in answer.outputs]
    assert found == {
        POSE: [("keypoints", "FP32", [-1, 2, 2, 3])],
        BEHAVIOR: [
            ("probabilities", "FP32", [-1, 2]),
            ("present", "BOOL", [-1, 2]),
            ("status", "UINT8", [-1]),
        ],
    }


def test_answers_have_the_shapes_that_metadata_and_config_tell(vectors):
    for name in (POSE, BEHAVIOR):
        metadata = vectors.open_inference.ModelMetadata(
            pb2.ModelMetadataRequest(name=name), timeout=TIMEOUT_S
        )
        config = vectors.open_inference.ModelConfig(
            pb2.ModelConfigRequest(name=name), timeout=TIMEOUT_S
        ).config
        found = infer(vectors, infer_request(name, FRAMES))
        for told, configured in zip(metadata.outputs, config.output, strict=True):
            shape = [len(FRAMES) if size == -1 else size for size in told.shape]
            assert list(found[told.name].shape) == shape
            batch = [] if config.max_batch_size == 0 else [-1]
            assert batch + list(configured.dims) == list(told.shape)
            assert configured.name == told.name


def test_the_configuration_of_a_pose_bundle_is_that_of_its_export_but_for_the_size():
    versions = find_bundles(SHIPPED)["openfield-mouse"]
    bundle = read_bundle(versions[max(versions)])
    exported = triton_models(bundle)[0]
    with serving(SHIPPED, "openfield-mouse", engine=EXACT) as served:
        request = pb2.ModelConfigRequest(name=exported.name)
        config = served.open_inference.ModelConfig(request, timeout=TIMEOUT_S).config
    (frames,) = config.input
    assert (frames.name, pb2.DataType.Name(frames.data_type)) == ("frames", "TYPE_UINT8")
    assert list(frames.dims) == [-1] * len(exported.inputs[0].shape[1:])
    outputs = [(one.name, list(one.dims)) for one in config.output]
    assert outputs == [(one.name, list(one.shape[1:])) for one in exported.outputs]
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    of_the_graph = {"graph", "graph_sha256"}
    assert (
        parameters.items()
        >= {
            key: text for key, text in exported.parameters.items() if key not in of_the_graph
        }.items()
    )
    assert config.max_batch_size == 32
    assert list(config.dynamic_batching.preferred_batch_size) == [1, 2, 4, 8]
    assert not config.model_transaction_policy.decoupled


def test_triton_reads_the_configuration_as_its_own(vectors):
    from tritonclient.grpc import model_config_pb2

    for name in (POSE, BEHAVIOR):
        config = vectors.open_inference.ModelConfig(
            pb2.ModelConfigRequest(name=name), timeout=TIMEOUT_S
        ).config
        theirs = model_config_pb2.ModelConfig.FromString(config.SerializeToString())
        assert str(theirs) == str(config)
        unknown = model_config_pb2.ModelConfig()
        unknown.CopyFrom(theirs)
        unknown.DiscardUnknownFields()
        assert unknown.ByteSize() == theirs.ByteSize()


def test_models_are_listed_unloaded_and_loaded_again(tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(VECTORS, folder)
    damaged = folder / POSE / "2"
    shutil.copytree(folder / POSE / "1", damaged)
    with serving(folder, f"{POSE}@1", BEHAVIOR, engine=EXACT) as served:
        stub = served.open_inference
        everything = index(served)
        assert everything == {
            (POSE, "1"): "READY",
            (POSE, "2"): "UNAVAILABLE",
            (BEHAVIOR, "1"): "READY",
        }
        assert set(index(served, ready=True)) == {(POSE, "1"), (BEHAVIOR, "1")}
        unload = pb2.RepositoryModelUnloadRequest(model_name=BEHAVIOR)
        unload.parameters["unload_dependents"].bool_param = False
        stub.RepositoryModelUnload(unload, timeout=TIMEOUT_S)
        assert not stub.ModelReady(pb2.ModelReadyRequest(name=BEHAVIOR), timeout=TIMEOUT_S).ready
        refused(
            lambda: infer(served, infer_request(BEHAVIOR, FRAMES)), Status.NOT_FOUND, "not loaded"
        )
        load = pb2.RepositoryModelLoadRequest(model_name=BEHAVIOR)
        stub.RepositoryModelLoad(load, timeout=TIMEOUT_S)
        assert stub.ModelReady(pb2.ModelReadyRequest(name=BEHAVIOR), timeout=TIMEOUT_S).ready
        assert infer(served, infer_request(BEHAVIOR, FRAMES))["status"].shape == (3,)
        unknown = pb2.RepositoryModelLoadRequest(model_name="cat")
        refused(
            lambda: stub.RepositoryModelLoad(unknown, timeout=TIMEOUT_S),
            Status.NOT_FOUND,
            "'cat'",
            POSE,
        )
        broken = pb2.RepositoryModelLoadRequest(model_name=POSE)
        refused(
            lambda: stub.RepositoryModelLoad(broken, timeout=TIMEOUT_S),
            Status.FAILED_PRECONDITION,
            "rename the folder",
        )
        load.parameters["config"].string_param = "{}"
        refused(
            lambda: stub.RepositoryModelLoad(load, timeout=TIMEOUT_S),
            Status.INVALID_ARGUMENT,
            "config",
            "loaded as it is",
        )


def test_statistics_count_what_was_asked_here():
    with serving(VECTORS, engine=EXACT) as served:
        assert [one.name for one in statistics(served)] == [BEHAVIOR, POSE]
        for _ in range(2):
            infer(served, infer_request(POSE, FRAMES))
        refused(
            lambda: infer(served, infer_request(POSE, FRAMES, raw_input_contents=[b"1"])),
            Status.INVALID_ARGUMENT,
        )
        infer(served, infer_request(BEHAVIOR, FRAMES))
        (pose,) = statistics(served, name=POSE, version="1")
        assert (pose.name, pose.version, pose.inference_count) == (POSE, "1", 6)
        counts = pose.inference_stats
        assert (counts.success.count, counts.fail.count) == (2, 1)
        parts = (counts.queue, counts.compute_input, counts.compute_infer, counts.compute_output)
        assert [one.count for one in parts] == [2, 2, 2, 2]
        assert 0 < sum(one.ns for one in parts) <= counts.success.ns
        rows = sum(one.batch_size * one.compute_infer.count for one in pose.batch_stats)
        executions = sum(one.compute_infer.count for one in pose.batch_stats)
        assert (rows, executions) == (6, pose.execution_count)
        assert pose.last_inference > 0
        (behavior,) = statistics(served, name=BEHAVIOR)
        assert (behavior.inference_count, behavior.inference_stats.success.count) == (3, 1)


def test_only_the_scope_of_models_may_load_and_unload(tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)

    def as_(holder: str) -> dict[str, object]:
        header = [("authorization", f"Bearer {holder}-token-0123456789")] if holder else []
        return {"metadata": header, "timeout": TIMEOUT_S}

    with serving(VECTORS, engine=EXACT, server={"token_file": str(tokens)}) as served:
        stub = served.open_inference
        asking = (
            lambda who: stub.ModelInfer(infer_request(POSE, FRAMES), **as_(who)),
            lambda who: list(
                stub.ModelStreamInfer(iter([infer_request(POSE, FRAMES)]), **as_(who))
            ),
            lambda who: stub.ServerMetadata(pb2.ServerMetadataRequest(), **as_(who)),
            lambda who: stub.ModelMetadata(pb2.ModelMetadataRequest(name=POSE), **as_(who)),
            lambda who: stub.ModelConfig(pb2.ModelConfigRequest(name=POSE), **as_(who)),
            lambda who: stub.ModelStatistics(pb2.ModelStatisticsRequest(), **as_(who)),
            lambda who: stub.RepositoryIndex(pb2.RepositoryIndexRequest(), **as_(who)),
        )
        changing = (
            lambda who: stub.RepositoryModelUnload(
                pb2.RepositoryModelUnloadRequest(model_name=BEHAVIOR), **as_(who)
            ),
            lambda who: stub.RepositoryModelLoad(
                pb2.RepositoryModelLoadRequest(model_name=BEHAVIOR), **as_(who)
            ),
        )
        for call in (*asking, *changing):
            refused(lambda call=call: call(""), Status.UNAUTHENTICATED, "token")
            refused(lambda call=call: call("stranger"), Status.UNAUTHENTICATED, "token")
        for call in changing:
            refused(lambda call=call: call("rig"), Status.PERMISSION_DENIED, "needs models")
        for call in (*asking, *changing):
            call("operator")
        for call in asking:
            call("rig")
        assert stub.ServerLive(pb2.ServerLiveRequest(), **as_("")).live
        assert stub.ServerReady(pb2.ServerReadyRequest(), **as_("")).ready
        assert stub.ModelReady(pb2.ModelReadyRequest(name=POSE), **as_("")).ready


def test_reflection_describes_both_protocols_and_health_stays(vectors):
    stub = reflection_pb2_grpc.ServerReflectionStub(vectors.channel)
    names = (
        "inference.GRPCInferenceService",
        "ethostream.v1.InferenceService",
        "ethostream.v1.BundleInfo",
        "grpc.health.v1.Health",
    )
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    requests += [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names
    ]
    listed, *files = stub.ServerReflectionInfo(iter(requests), timeout=TIMEOUT_S)
    assert {one.name for one in listed.list_services_response.service} == {
        "ethostream.v1.InferenceService",
        "ethostream.v1.JobService",
        "ethostream.v1.ModelService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    found = [one.file_descriptor_response.file_descriptor_proto for one in files]
    assert all(found)
    assert inference_service_pb2.DESCRIPTOR.serialized_pb in found[1]
    health = health_pb2_grpc.HealthStub(vectors.channel)
    for name in ("", POSE, BEHAVIOR):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("method", ["SystemSharedMemoryStatus", "TraceSetting"])
def test_what_is_left_out_of_the_protocol_is_unimplemented(vectors, method):
    call = vectors.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    refused(lambda: call(b"", timeout=TIMEOUT_S), Status.UNIMPLEMENTED)

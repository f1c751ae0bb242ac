"""The main job on a real server: live and archive, every frame answered once, alike."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from ethostream.v1 import behavior_pb2, bundle_pb2, frame_pb2
from ethostream.v1 import inference_service_pb2 as pb2
from ethostream.v1 import model_service_pb2 as models_pb2

from tests.e2e.wire import (
    BEHAVIOR,
    POSE,
    frame_message,
    read_frames,
    selection,
    start_message,
)

TIMEOUT_S = 120


def stream(stub, messages) -> list[pb2.StreamFramesResponse]:
    return list(stub.StreamFrames(iter(messages), timeout=TIMEOUT_S))


def stream_frames(stub, frames, *names, **settings):
    messages = [start_message(*names, **settings)]
    messages += [frame_message(index, pixels) for index, pixels in enumerate(frames)]
    return stream(stub, messages)


def analyze(stub, **settings) -> list[pb2.AnalyzeVideoResponse]:
    return list(stub.AnalyzeVideo(pb2.AnalyzeVideoRequest(**settings), timeout=TIMEOUT_S))


def outcomes_of(responses) -> list[pb2.FrameOutcome]:
    return [one.outcome for one in responses if one.HasField("outcome")]


def behaviors_of(responses) -> list[behavior_pb2.BehaviorResult]:
    return [one.behavior for one in responses if one.HasField("behavior")]


def keypoints_of(outcome: pb2.FrameOutcome) -> np.ndarray:
    pose = outcome.result.poses[0].poses[0]
    return np.stack([pose.x_px, pose.y_px, pose.confidence], axis=1)


def columns(responses) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Frame indices, (T, K, 3) keypoints and (T, C) probabilities of an analysis."""
    indices: list[int] = []
    keypoints, probabilities = [], []
    for response in responses:
        if not response.HasField("chunk"):
            continue
        chunk = response.chunk
        indices += chunk.frame_index
        for pose in chunk.poses:
            shape = (len(chunk.frame_index), pose.keypoints)
            parts = (pose.x_px, pose.y_px, pose.confidence)
            keypoints.append(np.stack([np.reshape(part, shape) for part in parts], axis=-1))
        for one in chunk.behaviors:
            probabilities.append(np.reshape(one.probabilities, (-1, one.behaviors)))
    return (
        indices,
        np.concatenate(keypoints) if keypoints else np.empty(0),
        np.concatenate(probabilities) if probabilities else np.empty(0),
    )


def assert_complete(responses, count: int) -> None:
    assert responses[0].HasField("started")
    assert responses[-1].ended.frames_accepted == responses[-1].ended.frames_result == count
    assert [one.frame_index for one in outcomes_of(responses)] == list(range(count))
    assert [one.frame_index for one in behaviors_of(responses)] == list(range(count))


def test_live_and_archive_give_the_same_answers(server, recordings):
    frames = read_frames(recordings / "short.mp4")
    live = stream_frames(server.inference, frames, POSE, BEHAVIOR, max_frames_in_flight=8)
    assert_complete(live, len(frames))
    archive = analyze(
        server.inference, path="short.mp4", bundles=[selection(POSE), selection(BEHAVIOR)]
    )
    indices, keypoints, probabilities = columns(archive)
    assert indices == list(range(len(frames)))
    assert archive[-1].finished.frames_ok == len(frames)
    live_keypoints = np.stack([keypoints_of(one) for one in outcomes_of(live)])
    confident = keypoints[..., 2] > 0.6
    assert confident.mean() > 0.5
    difference = np.abs(live_keypoints - keypoints)[confident]
    assert difference[:, :2].max() <= 0.5
    for place, answer in enumerate(behaviors_of(live)):
        if answer.status == behavior_pb2.BEHAVIOR_STATUS_OK:
            np.testing.assert_allclose(answer.probabilities, probabilities[place], atol=0.02)
        else:
            assert np.isnan(probabilities[place]).all()


def test_two_streams_and_an_archive_request_at_once(server, recordings):
    short, long = (read_frames(recordings / name) for name in ("short.mp4", "long.mp4"))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(stream_frames, server.inference, short, POSE, BEHAVIOR)
        second = pool.submit(stream_frames, server.inference, long, POSE, BEHAVIOR)
        video = pool.submit(
            analyze, server.inference, path="long.mp4",
            bundles=[selection(POSE), selection(BEHAVIOR)], frames_per_chunk=17,
        )  # fmt: skip
        assert_complete(first.result(), len(short))
        assert_complete(second.result(), len(long))
        indices, keypoints, _ = columns(video.result())
    assert indices == list(range(len(long)))
    # each stream got its own answers: they follow its own recording
    for responses, frames in ((first.result(), short), (second.result(), long)):
        assert len(outcomes_of(responses)) == len(frames)
    live = np.stack([keypoints_of(one) for one in outcomes_of(second.result())])
    confident = keypoints[..., 2] > 0.6
    assert np.abs(live - keypoints)[confident][:, :2].max() <= 0.5


def test_answers_carry_timings_capture_times_and_model_facts(server, recordings):
    frames = read_frames(recordings / "short.mp4")[:5]
    responses = stream_frames(server.inference, frames, POSE, BEHAVIOR, camera="top")
    started = responses[0].started
    assert [one.bundle.name for one in started.bundles] == [POSE, BEHAVIOR]
    assert list(started.bundles[0].pose.keypoints) == ["snout", "leftear", "rightear", "tailbase"]
    assert started.bundles[1].behavior.future_frames == 0
    assert started.credits >= 1
    for index, outcome in enumerate(outcomes_of(responses)):
        assert outcome.capture_time_ns == 7 * index
        timings = outcome.timings
        assert 0 < timings.engine_ns <= timings.total_ns
        assert timings.batch_size >= 1


def test_a_crop_answers_in_px_of_the_whole_frame(server, recordings):
    frames = read_frames(recordings / "short.mp4")[:8]
    whole = stream_frames(server.inference, frames, POSE)
    crop = frame_pb2.CropRegion(x_px=0, y_px=0, width_px=640, height_px=480)
    cropped = stream_frames(server.inference, frames, POSE, crop=crop)
    for one, other in zip(outcomes_of(whole), outcomes_of(cropped), strict=True):
        np.testing.assert_allclose(keypoints_of(one), keypoints_of(other), atol=1.0)


def test_a_session_of_unary_calls_gives_the_same_as_a_stream(server, recordings):
    frames = read_frames(recordings / "short.mp4")[:12]
    streamed = stream_frames(server.inference, frames, POSE, BEHAVIOR)
    stub, session_id = server.inference, ""
    outcomes, behaviors = [], []
    for index, pixels in enumerate(frames):
        request = pb2.AnalyzeFrameRequest(
            session_id=session_id,
            frame=frame_message(index, pixels).frame,
            end_session=index == len(frames) - 1,
        )
        if not session_id:
            request.start.bundles.extend([selection(POSE), selection(BEHAVIOR)])
        response = stub.AnalyzeFrame(request, timeout=TIMEOUT_S)
        session_id = response.session_id
        outcomes.append(response.outcome)
        behaviors += response.behaviors
    for one, other in zip(outcomes, outcomes_of(streamed), strict=True):
        np.testing.assert_allclose(keypoints_of(one), keypoints_of(other), atol=0.5)
    for one, other in zip(behaviors, behaviors_of(streamed), strict=True):
        assert (one.frame_index, one.status) == (other.frame_index, other.status)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)
    with pytest.raises(grpc.RpcError, match="there is no session") as caught:
        stub.AnalyzeFrame(pb2.AnalyzeFrameRequest(session_id=session_id), timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("way", ["stream", "pieces"])
def test_an_uploaded_video_is_analyzed_like_a_path(server, recordings, way):
    path = recordings / "short.mp4"
    content = path.read_bytes()
    stub = server.inference
    start = pb2.UploadStart(
        filename=path.name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    pieces = [content[at : at + 50_000] for at in range(0, len(content), 50_000)]
    if way == "stream":
        messages = [pb2.UploadVideoRequest(start=start)]
        messages += [pb2.UploadVideoRequest(data=piece) for piece in pieces]
        upload = stub.UploadVideo(iter(messages), timeout=TIMEOUT_S)
        upload_id = upload.upload_id
    else:
        upload_id, offset = "", 0
        for place, piece in enumerate(pieces):
            request = pb2.UploadChunkRequest(
                upload_id=upload_id, offset_bytes=offset, data=piece, last=place == len(pieces) - 1
            )
            if not upload_id:
                request.start.CopyFrom(start)
            upload = stub.UploadChunk(request, timeout=TIMEOUT_S)
            upload_id, offset = upload.upload_id, offset + len(piece)
    assert upload.sha256 == start.sha256
    by_upload = columns(analyze(stub, upload_id=upload_id, bundles=[selection(POSE)]))
    by_path = columns(analyze(stub, path="short.mp4", bundles=[selection(POSE)]))
    assert by_upload[0] == by_path[0]
    np.testing.assert_allclose(by_upload[1], by_path[1], atol=0.5)


def test_a_part_of_a_video_keeps_its_own_frame_numbers(server, recordings):
    answer = analyze(
        server.inference, path="short.mp4", bundles=[selection(POSE)], first_frame=20, frame_limit=9
    )
    whole = columns(analyze(server.inference, path="short.mp4", bundles=[selection(POSE)]))
    indices, keypoints, _ = columns(answer)
    assert indices == list(range(20, 29))
    np.testing.assert_allclose(keypoints, whole[1][20:29], atol=0.5)


def test_encoded_chunks_are_answered_frame_by_frame(server, recordings):
    import av

    packets = []
    with av.open(str(recordings / "short.mp4")) as container:
        source = container.streams.video[0]
        filters = av.BitStreamFilterContext("h264_mp4toannexb", source)
        for packet in container.demux(source):
            packets += [bytes(one) for one in filters.filter(packet) if one.size]
    count = len(read_frames(recordings / "short.mp4"))
    messages = [start_message(POSE, BEHAVIOR, max_frames_in_flight=16)]
    for index, data in enumerate(packets):
        chunk = frame_pb2.VideoChunk(chunk_index=index, codec=frame_pb2.VIDEO_CODEC_H264, data=data)
        messages.append(pb2.StreamFramesRequest(chunk=chunk))
    responses = stream(server.inference, messages)
    assert_complete(responses, count)
    acknowledged = [one.chunk.chunk_index for one in responses if one.HasField("chunk")]
    assert acknowledged == list(range(len(packets)))
    archive = columns(analyze(server.inference, path="short.mp4", bundles=[selection(POSE)]))
    live = np.stack([keypoints_of(one) for one in outcomes_of(responses)])
    confident = archive[1][..., 2] > 0.6
    assert np.abs(live - archive[1])[confident][:, :2].max() <= 0.5


def test_models_are_listed_with_cards_and_parity(server):
    listed = server.models.ListModels(models_pb2.ListModelsRequest(), timeout=TIMEOUT_S).models
    names = {one.bundle.name for one in listed}
    assert {POSE, BEHAVIOR} <= names
    assert all(one.state == bundle_pb2.BUNDLE_STATE_READY for one in listed)
    reference = bundle_pb2.BundleReference(name=POSE)
    request = models_pb2.GetModelRequest(bundle=reference)
    shown = server.models.GetModel(request, timeout=TIMEOUT_S).model
    assert "px" in shown.card
    assert shown.parity_json
    assert shown.metrics["mean_error_px"] > 0


def test_thresholds_of_a_request_change_what_is_present_and_not_the_probabilities(
    server, recordings
):
    frames = read_frames(recordings / "short.mp4")[:20]
    plain = behaviors_of(stream_frames(server.inference, frames, BEHAVIOR))
    message = pb2.StreamFramesRequest(
        start=pb2.StreamStart(bundles=[selection(BEHAVIOR, locomotion=0.0001)])
    )
    messages = [message] + [frame_message(i, pixels) for i, pixels in enumerate(frames)]
    eager = behaviors_of(stream(server.inference, messages))
    for one, other in zip(plain, eager, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)
    assert all(one.present[0] for one in eager if one.present)


def test_health_is_told_per_bundle_and_services_can_be_listed(server):
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    channel = server.channel()
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", POSE, BEHAVIOR):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="no-such-bundle"), timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S)
    services = {one.name for one in response.list_services_response.service}
    assert {f"ethostream.v1.{name}Service" for name in ("Inference", "Job", "Model")} <= services


def test_a_model_watcher_sees_what_is_loaded(server):
    call = server.models.WatchModels(models_pb2.WatchModelsRequest(), timeout=TIMEOUT_S)
    seen = {next(call).model.bundle.name for _ in range(2)}
    call.cancel()
    assert len(seen) == 2


def test_a_stream_keeps_its_version_when_it_is_unloaded(start_server, recordings):
    server = start_server()
    frames = read_frames(recordings / "short.mp4")[:10]
    unloaded = threading.Event()

    def messages():
        yield start_message(POSE)
        for index, pixels in enumerate(frames):
            if index == 5:
                assert unloaded.wait(TIMEOUT_S)
            yield frame_message(index, pixels)

    call = server.inference.StreamFrames(messages(), timeout=TIMEOUT_S)
    assert next(call).HasField("started")
    reference = bundle_pb2.BundleReference(name=POSE)
    server.models.UnloadModel(models_pb2.UnloadModelRequest(bundle=reference), timeout=TIMEOUT_S)
    with pytest.raises(grpc.RpcError, match="is not loaded") as caught:
        stream(server.inference, [start_message(POSE)])
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    unloaded.set()
    assert [one.outcome.frame_index for one in call if one.HasField("outcome")] == list(range(10))
    request = models_pb2.LoadModelRequest(bundle=reference)
    loaded = server.models.LoadModel(request, timeout=TIMEOUT_S)
    assert loaded.model.state == bundle_pb2.BUNDLE_STATE_READY
    assert_complete_pose = stream_frames(server.inference, frames, POSE)
    assert len(outcomes_of(assert_complete_pose)) == 10


def test_a_folder_that_is_not_there_is_told_and_ends_no_server(start_server, tmp_path):
    import json

    server = start_server("--root", str(tmp_path / "gone"), "--root", str(tmp_path))
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    missing = [one for one in lines if one["event"] == "a folder is missing"]
    assert [(one["setting"], one["path"]) for one in missing] == [
        ("video.roots", str(tmp_path / "gone"))
    ]


def test_metrics_tell_what_was_answered(start_server, recordings):
    import json
    import urllib.request

    server = start_server("--metrics", "127.0.0.1:0")
    frames = read_frames(recordings / "short.mp4")[:7]
    stream_frames(server.inference, frames, POSE)
    events = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    (port,) = [one["metrics_port"] for one in events if one["event"] == "serving"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as response:
        text = response.read().decode()
    assert 'ethostream_frames_total{outcome="result",work="live"} 7.0' in text
    assert 'ethostream_batch_size_count{graph="openfield-mouse/pose"}' in text
    assert "ethostream_streams_open 0.0" in text

"""The Python client against the real server: the same answers by every way."""

import signal

import ethostream
import numpy as np
import pytest

from service.behavior import apply_bout_rule, runs
from tests.e2e.archives import wait_until
from tests.e2e.wire import BEHAVIOR, POSE, read_frames


def follow(client: ethostream.Client, frames, **settings):
    """Stream all frames; return outcomes and behavior results."""
    with client.stream([POSE, BEHAVIOR], **settings) as stream:
        for pixels in frames:
            stream.send(pixels)
        counts = stream.finish()
        answers = list(stream)
    outcomes = [one for one in answers if isinstance(one, ethostream.FrameOutcome)]
    behaviors = [one for one in answers if isinstance(one, ethostream.BehaviorResult)]
    return counts, outcomes, behaviors


def test_a_live_stream_and_an_analysis_agree(server, recordings):
    frames = read_frames(recordings / "short.mp4")
    with ethostream.Client(server.address) as client:
        counts, outcomes, behaviors = follow(client, frames, frame_rate_hz=30)
        video = client.analyze_all("short.mp4", bundles=[POSE, BEHAVIOR])
    assert counts.accepted == counts.results == len(frames)
    assert [one.frame_index for one in outcomes] == list(range(len(frames)))
    assert [one.frame_index for one in behaviors] == list(range(len(frames)))
    found = np.stack([one.poses[0].keypoints_xy for one in outcomes])
    confident = video.poses[0].confidence > 0.6
    assert np.abs(found - video.poses[0].keypoints_xy)[confident].max() <= 0.5
    for place, one in enumerate(behaviors):
        if one.status is ethostream.BehaviorStatus.OK:
            np.testing.assert_allclose(
                one.probabilities, video.behaviors[0].probabilities[place], atol=0.02
            )


def test_a_followed_animal_is_found_with_the_crop_told_and_behavior_unchanged(server, recordings):
    frames = read_frames(recordings / "short.mp4")
    follow_animal = ethostream.DynamicCrop(margin_px=60, max_zoom=1.5)
    one_by_one = {"frame_rate_hz": 30, "max_frames_in_flight": 1}
    with ethostream.Client(server.address) as client:
        _, _, plain = follow(client, frames, **one_by_one)
        _, outcomes, behaviors = follow(client, frames, dynamic_crop=follow_animal, **one_by_one)
        video = client.analyze_all(
            "short.mp4", bundles=[POSE, BEHAVIOR], dynamic_crop=follow_animal
        )
        with pytest.raises(ethostream.EthostreamError, match="max_zoom is"):
            client.analyze_all(
                "short.mp4", bundles=POSE, dynamic_crop=ethostream.DynamicCrop(max_zoom=0.5)
            )
    crops = [one.poses[0].crop for one in outcomes]
    assert crops[0] is None
    height_px, width_px = frames[0].shape[:2]
    assert any(one is not None and one.width_px < width_px for one in crops)
    assert all(one is None or one.y_px + one.height_px <= height_px for one in crops)
    found = np.stack([one.poses[0].keypoints_xy for one in outcomes])
    confident = video.poses[0].confidence > 0.6
    assert np.abs(found - video.poses[0].keypoints_xy)[confident].max() <= 0.5
    for one, other in zip(behaviors, plain, strict=True):
        assert one.status is other.status
        if one.probabilities is not None:
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)


def test_a_stream_tells_the_age_of_frames_and_the_offset_of_the_clocks(server, recordings):
    frames = read_frames(recordings / "short.mp4")[:10]
    with ethostream.Client(server.address) as client, client.stream(POSE) as stream:
        assert stream.clock is None
        for pixels in frames:
            stream.send(pixels)
        stream.finish()
        outcomes = list(stream)
        clock = stream.clock
    assert all(one.age_ns >= one.round_trip_ns > one.timings.total_ns for one in outcomes)
    assert abs(clock.offset_ns) <= clock.error_ns + 1_000_000  # client and server share one clock


def test_bouts_of_a_live_stream_are_those_of_its_answers(server, recordings):
    frames = read_frames(recordings / "short.mp4")
    shortest = {"locomotion": 3, "wall_contact": 3}
    selection = ethostream.BundleSelection(
        BEHAVIOR, thresholds=low_thresholds(), min_bout_frames=shortest, bout_events=True
    )
    with (
        ethostream.Client(server.address) as client,
        client.stream([selection], frame_rate_hz=30) as stream,
    ):
        for pixels in frames:
            stream.send(pixels)
        stream.finish()
        results = [one for one in stream if isinstance(one, ethostream.BehaviorResult)]
    for column, name in enumerate(results[0].behaviors):
        if name not in shortest:
            continue
        shown = np.array([one.present is not None and bool(one.present[column]) for one in results])
        kept = apply_bout_rule(shown[:, None], [shortest[name]])[:, 0]
        onsets = {onset for onset, _ in runs(kept)}
        told = [event for one in results for event in one.bouts if event.behavior == name]
        assert {event.frame_index for event in told if event.kind == "onset"} == onsets
    assert any(one.bouts for one in results)
    assert not any(one.background and one.present is None for one in results)


def low_thresholds() -> dict[str, float]:
    """So low that something is present in a recording of two seconds."""
    return {"locomotion": 0.05, "wall_contact": 0.05}


def test_gray_bgr_and_jpeg_frames_find_the_same_animal(server, recordings):
    import cv2

    frames = read_frames(recordings / "short.mp4")[20:24]
    with ethostream.Client(server.address) as client:
        _, rgb, _ = follow(client, frames)
        _, bgr, _ = follow(client, [one[..., ::-1] for one in frames], color="bgr")
        jpegs = [cv2.imencode(".jpg", one[..., ::-1])[1].tobytes() for one in frames]
        _, jpeg, _ = follow(client, jpegs)
    for one, other, third in zip(rgb, bgr, jpeg, strict=True):
        wanted = one.poses[0].keypoints_xy
        np.testing.assert_allclose(other.poses[0].keypoints_xy, wanted, atol=0.5)
        confident = one.poses[0].confidence > 0.6
        np.testing.assert_allclose(
            third.poses[0].keypoints_xy[confident], wanted[confident], atol=8
        )


def test_an_upload_gives_tables(server, recordings):
    with ethostream.Client(server.address) as client:
        video = client.analyze_all(upload=recordings / "short.mp4", bundles=[POSE, BEHAVIOR])
    table = video.to_pandas()
    assert len(table) == len(read_frames(recordings / "short.mp4"))
    assert video.to_xarray().sizes


def test_errors_have_types_and_say_what_to_do(server):
    with ethostream.Client(server.address) as client:
        with pytest.raises(ethostream.EthostreamError, match="there is no bundle 'cat'") as caught:
            client.model("cat")
        assert caught.value.status == "NOT_FOUND"
        stream = client.stream("cat")
        with pytest.raises(ethostream.EthostreamError, match="'cat' is not loaded"):
            stream.open()


def test_a_stream_goes_on_after_its_server_was_killed_and_the_ledger_is_closed(
    start_server, recordings
):
    frames = read_frames(recordings / "short.mp4")
    first = start_server("--load", POSE)
    second = None
    with ethostream.Client(first.address) as client, client.stream(POSE) as stream:
        for index, pixels in enumerate(frames):
            if index == 15:  # the server takes no more, so that the next three are lost
                wait_until(lambda: stream.ledger.results == 15)
                first.process.send_signal(signal.SIGSTOP)
            stream.send(pixels)
            if index == 17:
                first.process.kill()
                first.process.wait(10)
                second = start_server("--load", POSE, "--listen", first.address)
        counts = stream.finish()
        answers = list(stream)
    assert second is not None
    assert [one.frame_index for one in answers] == list(range(len(frames)))
    assert counts.accepted == len(frames) == counts.results + counts.lost
    assert counts.lost == 3

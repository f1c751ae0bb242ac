"""The ledger holds whatever happens: every accepted frame is answered once, in order."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from prometheus_client import REGISTRY

from service.dynamic_crop import DynamicCrop
from service.engine import FakeEngine
from service.engine.device import Rows
from service.errors import FrameOutOfOrder, InvalidFrame, InvalidRequest
from service.frames import EncodedFrame, ReadFrame
from service.outcomes import LiveAnswer, LiveBehavior, LiveTrigger, Outcome
from service.prediction import Prediction
from service.preprocess import CropRegion, to_model_input
from service.repository import Selection
from service.scheduler import Graph
from service.session import LiveSession
from service.session_options import SessionConfig, SessionOptions
from service.triggers import (
    AllOf,
    Circle,
    InRegion,
    Keypoint,
    Not,
    Polygon,
    Probability,
    Speed,
    Trigger,
    ValueRange,
)
from service.values import BehaviorStatus
from service.video import ChunkDecoder
from service.video.base import Wanted
from tests.service.conftest import CENTERED, OnDevice
from tests.service.video.barcode import read_barcode
from tests.service.video.corpus import write_video


def raw(index: int, *, x: int = 20, y: int = 10, size: tuple[int, int] = (96, 64), **changes):
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[y : y + 4, x : x + 4] = 255
    settings = {
        "frame_index": index,
        "capture_time_ns": 1000 * index,
        "encoding": "gray8",
        "width_px": size[0],
        "height_px": size[1],
        "crop": None,
        "data": pixels.tobytes(),
        **changes,
    }
    return EncodedFrame(**settings)


@pytest.fixture
def open_session(scheduler):
    threads = ThreadPoolExecutor(1)
    opened = []

    def make(*bundles, clock=time.perf_counter, **options) -> LiveSession:
        selections = tuple(Selection(one) for one in bundles)
        session = LiveSession(
            "s", SessionOptions(selections=selections, **options), scheduler, SessionConfig(),
            threads, clock=clock,
        )  # fmt: skip
        session.start()
        opened.append(session)
        return session

    yield make
    threads.shutdown()


async def all_answers(session: LiveSession, frames) -> list[LiveAnswer]:
    async def send() -> None:
        for frame in frames:
            await session.offer(frame)
        session.finish()

    sending = asyncio.create_task(send())
    answers = [answer async for answer in session.answers()]
    await sending
    await session.close()
    return answers


async def run(session: LiveSession, frames) -> tuple[list[Outcome], list[LiveBehavior]]:
    answers = await all_answers(session, frames)
    return (
        [one for one in answers if isinstance(one, Outcome)],
        [one for one in answers if isinstance(one, LiveBehavior)],
    )


async def test_every_frame_is_answered_once_in_order_and_in_px_of_the_sent_frame(
    open_session, pose_bundle
):
    session = open_session(pose_bundle)
    frames = [raw(index, x=20 + 2 * (index % 20)) for index in range(50)]
    outcomes, _ = await run(session, frames)
    assert [one.frame_index for one in outcomes] == list(range(50))
    assert [one.capture_time_ns for one in outcomes] == [1000 * index for index in range(50)]
    for index, outcome in enumerate(outcomes):
        ((_, poses),) = outcome.poses
        x, y = poses.keypoints_xy[0, 0]  # found in the half-size model input
        assert x == pytest.approx(20 + 2 * (index % 20) + 0.5, abs=1)
        assert y == pytest.approx(10.5, abs=1)
    assert session.ledger.accepted == session.ledger.result == 50


async def test_latency_and_stages_of_frames_are_measured(open_session, pose_bundle):
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"ethostream_{name}_seconds_count", labels) or 0.0

    stages = ("queue", "decode", "preprocess", "postprocess")
    before = counted("frame", outcome="result"), [counted("stage", stage=one) for one in stages]
    await run(open_session(pose_bundle), [raw(index) for index in range(5)])
    await asyncio.sleep(0)  # frames are measured behind the tasks that send their answers
    assert counted("frame", outcome="result") - before[0] == 5
    assert [counted("stage", stage=one) for one in stages] == [one + 5 for one in before[1]]


async def test_pose_and_behavior_share_one_stream(open_session, pose_bundle, behavior_bundle):
    session = open_session(pose_bundle, behavior_bundle())
    outcomes, behaviors = await run(session, [raw(index) for index in range(10)])
    assert all(not one.bouts for one in behaviors)
    assert [one.kind for one in outcomes] == ["result"] * 10
    assert [one.answer.frame_index for one in behaviors] == list(range(10))
    assert [one.answer.status for one in behaviors] == [BehaviorStatus.NO_CONTEXT] * 2 + [
        BehaviorStatus.OK
    ] * 8


async def test_bout_events_come_with_the_frame_that_decides_them(scheduler, behavior_bundle):
    selection = Selection(behavior_bundle(), {}, {"bright": 4}, bout_events=True)
    threads = ThreadPoolExecutor(1)
    options = SessionOptions(selections=(selection,))
    session = LiveSession("s", options, scheduler, SessionConfig(), threads)
    session.start()
    _, behaviors = await run(session, [raw(index) for index in range(10)])  # bright from frame 2
    threads.shutdown()
    told = {one.answer.frame_index: one.bouts for one in behaviors if one.bouts}
    bright = [(at, one) for at, bouts in told.items() for one in bouts if one.behavior == "bright"]
    assert [(at, one.kind, one.frame_index) for at, one in bright] == [(5, "onset", 2)]
    assert not any(one.is_background for one in behaviors)


async def test_the_end_of_a_stream_answers_the_frames_that_waited_for_later_ones(
    open_session, pose_bundle, behavior_bundle
):
    far = CENTERED | {"future_frames": 12, "sequence_future_frames": 10}  # more than the credits
    session = open_session(pose_bundle, behavior_bundle(**far))
    _, behaviors = await run(session, [raw(index) for index in range(30)])
    assert [one.answer.frame_index for one in behaviors] == list(range(30))
    assert {one.answer.status for one in behaviors} == {BehaviorStatus.OK}


async def test_triggers_switch_before_the_answer_that_made_them(
    open_session, pose_bundle, behavior_bundle
):
    dot = Keypoint(name="dot")
    inside = InRegion(dot, Polygon(((40, 0), (80, 0), (80, 60), (40, 60))))
    bright = Probability(behavior="bright", probability=ValueRange(at_least=0.5))
    session = open_session(
        pose_bundle,
        behavior_bundle(),
        triggers=(
            Trigger(name="inside", condition=inside, frames_on=2),
            Trigger(name="fast", condition=Speed(dot, ValueRange(at_least=1000))),
            Trigger(name="both", condition=AllOf((inside, bright))),
        ),
    )

    # In the region in frames 3 to 6, at 100 frames/s.
    frames = [
        raw(index, x=50 if 3 <= index <= 6 else 20, capture_time_ns=10_000_000 * (index + 1))
        for index in range(10)
    ]
    answers = await all_answers(session, frames)
    told = [one for one in answers if isinstance(one, LiveTrigger)]
    switched = {
        name: [(one.event.kind, one.event.frame_index) for one in told if one.event.trigger == name]
        for name in ("inside", "fast", "both")
    }
    assert switched == {
        "inside": [("on", 4), ("off", 7)],
        "fast": [("on", 3), ("off", 4), ("on", 7), ("off", 8)],  # 30 px in 10 ms
        "both": [("on", 3), ("off", 7)],
    }
    for one in told:
        assert one.capture_time_ns == 10_000_000 * (one.event.frame_index + 1)
        assert one.latency_seconds > 0
        place = answers.index(one)
        later = [
            answer
            for answer in answers[place:]
            if (isinstance(answer, Outcome) and answer.frame_index == one.event.frame_index)
            or (
                isinstance(answer, LiveBehavior)
                and answer.answer.frame_index == one.event.frame_index
            )
        ]
        assert later


async def test_outcomes_say_where_keypoints_will_be_and_triggers_look_there(
    open_session, pose_bundle
):
    ahead = InRegion(Keypoint(name="dot", predicted=True), Polygon(((60, 0), (95, 0), (95, 60))))
    session = open_session(
        pose_bundle,
        prediction=Prediction(ahead_s=0.1),
        triggers=(Trigger(name="ahead", condition=ahead),),
    )

    # 2 px a frame at 100 frames/s: 200 px/s.
    frames = [
        raw(index, x=2 * index, capture_time_ns=10_000_000 * (index + 1)) for index in range(25)
    ]
    answers = await all_answers(session, frames)
    last = [one for one in answers if isinstance(one, Outcome)][-1]
    ((_, poses),) = last.poses
    assert poses.predicted_xy[0, 0, 0] == pytest.approx(poses.keypoints_xy[0, 0, 0] + 20, abs=4)
    (told,) = [one for one in answers if isinstance(one, LiveTrigger)]
    assert told.event.kind == "on"
    assert 15 <= told.event.frame_index <= 24  # before it is there, in frame 30


def test_triggers_that_look_ahead_need_a_prediction():
    ahead = InRegion(Keypoint(name="dot", predicted=True), Circle(x_px=0, y_px=0, radius_px=9))
    seen = InRegion(Keypoint(name="dot"), Circle(x_px=0, y_px=0, radius_px=9))
    trigger = Trigger(name="ahead", condition=AllOf((seen, Not(ahead))))
    with pytest.raises(InvalidRequest, match=r"trigger ahead looks at a predicted.*set"):
        SessionOptions(selections=(), triggers=(trigger,))
    SessionOptions(selections=(), triggers=(Trigger(name="seen", condition=seen),))
    SessionOptions(selections=(), triggers=(trigger,), prediction=Prediction(ahead_s=0.1))


async def test_the_speed_in_a_chunked_stream_goes_by_the_capture_times_of_its_chunks(
    open_session, pose_bundle
):
    fast = Trigger(name="fast", condition=Speed(Keypoint(name="dot"), ValueRange(at_least=1000)))
    frames = []
    for index in range(6):  # 40 px in 10 ms with frame 3
        pixels = np.zeros((64, 96), np.uint8)
        x = 60 if index >= 3 else 20
        pixels[10:14, x : x + 4] = 255
        frames.append(ReadFrame(index, 10_000_000 * (index + 1), 0, pixels))
    answers = await all_answers(open_session(pose_bundle, triggers=(fast,)), frames)
    told = [one.event for one in answers if isinstance(one, LiveTrigger)]
    assert [(one.kind, one.frame_index) for one in told] == [("on", 3), ("off", 4)]


async def test_a_frame_that_fails_switches_its_triggers_off(open_session, pose_bundle):
    anywhere = InRegion(Keypoint(name="dot"), Circle(x_px=0, y_px=0, radius_px=1000))
    session = open_session(pose_bundle, triggers=(Trigger(name="seen", condition=anywhere),))
    answers = await all_answers(session, [raw(0), raw(1, data=b""), raw(2)])
    told = [one.event for one in answers if isinstance(one, LiveTrigger)]
    assert [(one.kind, one.frame_index) for one in told] == [("on", 0), ("off", 1), ("on", 2)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (raw(3, data=b""), "0 bytes"),
        (raw(3, data=b"12345"), "has 5 bytes"),
        (raw(3, size=(48, 32)), "48x32 px, but the stream began with 96x64"),
        (raw(3, width_px=9000), "limit of 4096x4096"),
        (raw(3, encoding="jpeg", data=b"\xff\xd8 this is no picture"), "frame|JPEG"),
    ],
)
async def test_a_bad_frame_costs_only_itself(
    open_session, pose_bundle, behavior_bundle, bad, message
):
    session = open_session(pose_bundle, behavior_bundle())
    frames = [raw(0), raw(1), raw(2), bad, raw(4), raw(5)]
    outcomes, behaviors = await run(session, frames)
    assert [one.kind for one in outcomes] == ["result"] * 3 + ["error"] + ["result"] * 2
    import re

    assert re.search(message, outcomes[3].reason)
    assert [one.answer.frame_index for one in behaviors] == list(range(6))
    assert behaviors[3].answer.status is BehaviorStatus.NO_FRAME
    assert behaviors[4].answer.status is BehaviorStatus.OK


def read_into_inputs(session: LiveSession, index: int, **changes) -> ReadFrame:
    """The frame `raw` as a decoder of encoded streams makes it for the session."""
    frame, wanted = raw(index, **changes), session.wanted
    pixels = np.frombuffer(frame.data, np.uint8).reshape(frame.height_px, frame.width_px)
    try:
        inputs = tuple(to_model_input(pixels, one, wanted.crop)[0] for one in wanted.inputs)
    except InvalidFrame:  # decoders leave a crop out that is not inside
        inputs = tuple(to_model_input(pixels, one)[0] for one in wanted.inputs)
    size = (frame.width_px, frame.height_px)
    return ReadFrame(index, frame.capture_time_ns, 0, None, inputs, size)


@pytest.mark.parametrize("crop", [None, CropRegion(8, 4, 60, 40)])
async def test_inputs_that_a_decoder_made_are_answered_as_pixels_are(
    open_session, pose_bundle, behavior_bundle, crop
):
    bundles = (pose_bundle, behavior_bundle())
    places = [20 + 2 * index for index in range(12)]
    frames = [raw(index, x=x) for index, x in enumerate(places)]
    expected, expected_behaviors = await run(open_session(*bundles, crop=crop), frames)
    session = open_session(*bundles, crop=crop)
    assert session.wanted.color is None
    frames = [read_into_inputs(session, index, x=x) for index, x in enumerate(places)]
    outcomes, behaviors = await run(session, frames)
    for one, other in zip(outcomes, expected, strict=True):
        ((_, poses),), ((_, others),) = one.poses, other.poses
        assert np.array_equal(poses.keypoints_xy, others.keypoints_xy)
    for one, other in zip(behaviors, expected_behaviors, strict=True):
        assert one.answer.status == other.answer.status
        assert np.array_equal(one.answer.probabilities, other.answer.probabilities)


async def test_inputs_of_another_size_or_crop_are_refused_as_pixels_are(open_session, pose_bundle):
    session = open_session(pose_bundle)
    sizes = [(96, 64), (48, 32), (96, 64)]
    frames = [read_into_inputs(session, index, size=size) for index, size in enumerate(sizes)]
    outcomes, _ = await run(session, frames)
    assert [one.kind for one in outcomes] == ["result", "error", "result"]
    assert "48x32 px, but the stream began with 96x64" in outcomes[1].reason
    session = open_session(pose_bundle, crop=CropRegion(90, 0, 20, 20))
    outcomes, _ = await run(session, [read_into_inputs(session, 0)])
    assert "the crop 20x20 at (90, 0) px is not inside the 96x64 frame" in outcomes[0].reason


async def test_a_crop_that_follows_the_animal_takes_whole_frames(open_session, pose_bundle):
    session = open_session(pose_bundle, dynamic_crop=DynamicCrop())
    assert session.wanted == Wanted("rgb")
    session.finish()


async def test_chunks_that_a_gpu_decodes_stay_there_up_to_the_engine(
    emulate_gpu, tmp_path, pose_bundle, open_session
):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed; run `uv sync --extra dali`")
    emulate_gpu()
    path = write_video(
        tmp_path / "camera.h264", frames=20, size=(96, 64), options={"bf": "0"}, format="h264"
    )
    seen = []
    for decoder in ("pyav", "nvcodec"):
        if decoder == "nvcodec":
            graph = pose_bundle.graphs["pose"]
            graph.engine = OnDevice(graph.engine)
        session = open_session(pose_bundle)
        assert session.wanted.on_device is (decoder == "nvcodec")
        chunks = ChunkDecoder("h264", wanted=session.wanted, decoder=decoder)
        decoded = (await chunks.feed(path.read_bytes())).frames + (await chunks.flush()).frames
        frames = [
            ReadFrame(index, 0, 0, None, one.inputs, (one.width_px, one.height_px))
            for index, one in enumerate(decoded)
        ]
        outcomes, _ = await run(session, frames)
        seen.append([one.poses[0][1].keypoints_xy for one in outcomes])
    assert len(seen[0]) == 20
    assert graph.engine.seen == {Rows}
    assert [read_barcode(one[..., 0]) for one in graph.engine.looked_at] == list(range(20))
    np.testing.assert_array_equal(*seen)


async def test_a_frame_out_of_order_is_not_accepted_and_loses_nothing(open_session, pose_bundle):
    session = open_session(pose_bundle)
    await session.offer(raw(5))
    with pytest.raises(FrameOutOfOrder, match="frame 5 came after frame 5"):
        await session.offer(raw(5))
    session.finish()
    outcomes = [one async for one in session.answers()]
    await session.close()
    assert [one.frame_index for one in outcomes] == [5]


async def test_jpeg_and_png_frames_are_read(open_session, pose_bundle):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[20:26, 40:46] = 255
    frames = [
        raw(0, encoding="png", data=cv2.imencode(".png", pixels)[1].tobytes()),
        raw(1, encoding="jpeg", data=cv2.imencode(".jpg", pixels)[1].tobytes()),
    ]
    outcomes, _ = await run(open_session(pose_bundle), frames)
    for outcome in outcomes:
        assert outcome.kind == "result"
        np.testing.assert_allclose(outcome.poses[0][1].keypoints_xy[0, 0], [42, 22], atol=3)


async def test_no_more_frames_are_accepted_than_there_are_credits(open_session, pose_bundle):
    session = open_session(pose_bundle, frames_in_flight=3)
    for index in range(3):
        await session.offer(raw(index))
    waiting = asyncio.create_task(session.offer(raw(3)))
    with pytest.raises(TimeoutError):  # nobody reads the answers: no credit comes back
        await asyncio.wait_for(asyncio.shield(waiting), 0.3)
    answers = session.answers()
    assert (await anext(answers)).frame_index == 0
    assert (await anext(answers)).frame_index == 1  # the first is on its way: one credit is back
    await asyncio.wait_for(waiting, 60)
    session.finish()
    assert [one.frame_index async for one in answers] == [2, 3]
    await session.close()


def slow_pose(pose_bundle, seconds: float):
    pose_bundle.graphs["pose"] = Graph("slow", FakeEngine(batch_seconds=seconds))
    return pose_bundle


async def test_latest_skips_what_a_newer_frame_replaces(open_session, pose_bundle):
    session = open_session(slow_pose(pose_bundle, 0.05), freshness="latest", frames_in_flight=8)
    outcomes, _ = await run(session, [raw(index) for index in range(8)])
    kinds = [one.kind for one in outcomes]
    assert [one.frame_index for one in outcomes] == list(range(8))
    assert kinds[-1] == "result"
    assert kinds.count("skipped") >= 5
    assert {one.reason for one in outcomes if one.kind == "skipped"} == {"replaced"}
    assert session.ledger.result + session.ledger.skipped == session.ledger.accepted == 8


async def test_frames_replaced_while_an_older_one_is_read_come_after_it_for_behaviors(
    scheduler, behavior_bundle
):
    threads = ThreadPoolExecutor(1)
    options = SessionOptions(
        selections=(Selection(behavior_bundle(max_gap_frames=2)),),
        freshness="latest",
        frames_in_flight=8,
    )
    session = LiveSession("s", options, scheduler, SessionConfig(), threads)
    session.start()
    png = cv2.imencode(".png", np.zeros((64, 96), np.uint8))[1].tobytes()
    answers = session.answers()
    statuses = {}
    for first in range(0, 20, 4):
        reads = threading.Event()
        threads.submit(reads.wait)
        for index in range(first, first + 4):  # two are replaced: a gap that is bridged
            await session.offer(raw(index, encoding="png", data=png))
            for _ in range(10):  # the first one goes to the thread
                await asyncio.sleep(0)
        reads.set()
        for _ in range(8):
            answer = await anext(answers)
            if isinstance(answer, LiveBehavior):
                statuses[answer.answer.frame_index] = answer.answer.status
    await session.close()
    threads.shutdown()
    missed, ok = BehaviorStatus.NO_FRAME, BehaviorStatus.OK
    assert list(statuses.values()) == [BehaviorStatus.NO_CONTEXT, missed, missed, ok] + [
        ok, missed, missed, ok
    ] * 4  # fmt: skip


async def test_deadline_skips_what_waited_too_long(open_session, pose_bundle):
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    engine = FakeEngine(batch_seconds=0.05, sleep=pass_time)
    pose_bundle.graphs["pose"] = Graph("slow", engine)
    session = open_session(
        pose_bundle,
        clock=lambda: now,
        freshness="deadline",
        max_age_seconds=0.02,
        frames_in_flight=8,
    )
    outcomes, _ = await run(session, [raw(index) for index in range(8)])
    assert [one.kind for one in outcomes] == ["result"] + ["skipped"] * 7
    assert {one.reason for one in outcomes[1:]} == {"too_old"}
    assert session.ledger.skipped == 7


async def test_a_failing_engine_answers_error_for_its_frames(open_session, pose_bundle):
    pose_bundle.graphs["pose"] = Graph("bad", FakeEngine(fail_when=lambda _: True))
    outcomes, _ = await run(open_session(pose_bundle), [raw(0), raw(1)])
    assert [one.kind for one in outcomes] == ["error", "error"]
    assert "told to fail" in outcomes[0].reason


async def test_a_client_that_leaves_is_forgotten(open_session, pose_bundle):
    session = open_session(slow_pose(pose_bundle, 0.02), frames_in_flight=8)
    for index in range(8):
        await session.offer(raw(index))
    await asyncio.wait_for(session.close(), 60)


def test_a_stream_needs_bundles_each_once(scheduler, pose_bundle):
    one = Selection(pose_bundle)
    with pytest.raises(InvalidRequest, match="no bundle"):
        LiveSession("s", SessionOptions(selections=()), None, SessionConfig(), None)
    with pytest.raises(InvalidRequest, match="named twice"):
        LiveSession("s", SessionOptions(selections=(one, one)), None, SessionConfig(), None)


async def test_a_bug_costs_its_frame_hangs_nothing_and_is_told_in_the_log(
    open_session, pose_bundle, monkeypatch, capsys
):
    from service import preparation as module

    real = module.to_model_input

    def broken(pixels, spec, crop=None):
        if pixels[10, 30] == 255:
            raise ZeroDivisionError("no luck")
        return real(pixels, spec, crop)

    monkeypatch.setattr(module, "to_model_input", broken)
    frames = [raw(0), raw(1, x=28), raw(2)]
    outcomes, _ = await run(open_session(pose_bundle), frames)
    assert [one.kind for one in outcomes] == ["result", "error", "result"]
    assert "frame 1; its log has the trace" in outcomes[1].reason
    assert "no luck" not in outcomes[1].reason  # such texts name files of the server
    assert "no luck" in "".join(capsys.readouterr())


async def test_frames_that_were_lost_do_not_stop_a_stream_that_looks_ahead(
    open_session, pose_bundle, behavior_bundle
):
    """Held pictures stand in for them, whose answers nobody waits for."""
    bundle = behavior_bundle(max_gap_frames=5, **CENTERED)
    session = open_session(pose_bundle, bundle, frames_in_flight=1)
    numbers = [4 * index for index in range(12)]
    frames = [raw(number) for number in numbers]
    outcomes, behaviors = await asyncio.wait_for(run(session, frames), 60)
    assert [one.frame_index for one in outcomes] == numbers
    assert [one.answer.frame_index for one in behaviors] == numbers
    assert behaviors[5].answer.status is BehaviorStatus.OK

"""Every frame gets one answer, computed from exactly its own past."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from service.behavior_stream import BehaviorStream, choose_stride, choose_thresholds
from service.errors import FrameRateMismatch, InvalidRequest
from service.scheduler import Work
from service.values import BehaviorStatus
from tests.service.conftest import CENTERED

OK, HELD = BehaviorStatus.OK, BehaviorStatus.HELD
NO_CONTEXT, ERROR = BehaviorStatus.NO_CONTEXT, BehaviorStatus.ERROR


def image(level: int) -> np.ndarray:
    return np.full((32, 48, 1), level, np.uint8)


def expected(levels: list[int], flow_frames: int = 2) -> list[np.ndarray]:
    """Probabilities of the arithmetic graphs for an unbroken run of gray levels."""
    state, answers = np.zeros(2), []
    for at in range(flow_frames, len(levels)):
        flows = sum(b - a for a, b in pairwise(levels[at - flow_frames : at + 1]))
        state = state / 2 + np.array([levels[at], flows])
        answers.append(1 / (1 + np.exp(-state)))
    return answers


async def push_all(stream: BehaviorStream, frames: dict[int, int]):
    futures = [stream.push(index, image(level)) for index, level in frames.items()]
    return await asyncio.gather(*futures)


async def test_answers_begin_when_the_context_is_full_and_carry_the_state(
    behavior_bundle, scheduler
):
    stream = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE)
    levels = [3, 1, 4, 1, 5, 2, 0]
    answers = await push_all(stream, dict(enumerate(levels)))
    assert [answer.frame_index for answer in answers] == list(range(7))
    assert [answer.status for answer in answers] == [NO_CONTEXT] * 2 + [OK] * 5
    assert answers[0].probabilities is None
    for answer, want in zip(answers[2:], expected(levels), strict=True):
        np.testing.assert_allclose(answer.probabilities, want, atol=1e-6)
        assert (answer.present == (answer.probabilities >= 0.5)).all()


async def test_one_by_one_gives_the_same_as_all_at_once(behavior_bundle, scheduler):
    levels = [3, 1, 4, 1, 5, 2, 0, 4]
    together = BehaviorStream(behavior_bundle(), scheduler, work=Work.ARCHIVE)
    alone = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE)
    at_once = await push_all(together, dict(enumerate(levels)))
    for index, (level, other) in enumerate(zip(levels, at_once, strict=True)):
        one = await alone.push(index, image(level))
        assert one.status == other.status
        if one.probabilities is not None:
            np.testing.assert_array_equal(one.probabilities, other.probabilities)


async def test_each_frame_is_flowed_once_and_its_features_computed_once(behavior_bundle, scheduler):
    bundle = behavior_bundle()
    stream = BehaviorStream(bundle, scheduler, work=Work.LIVE)
    await push_all(stream, dict(enumerate([1] * 10)))
    rows = {name: graph.engine.rows for name, graph in bundle.graphs.items()}
    assert rows == {"flow": 9, "features": 8, "sequence": 8}


async def test_a_short_gap_is_bridged_by_repeating_the_last_frame(behavior_bundle, scheduler):
    stream = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE)
    answers = await push_all(stream, {0: 3, 1: 1, 2: 4, 5: 2})
    unbroken = expected([3, 1, 4, 4, 4, 2])
    assert answers[-1].status is OK
    np.testing.assert_allclose(answers[-1].probabilities, unbroken[-1], atol=1e-6)


async def test_a_long_gap_empties_the_window(behavior_bundle, scheduler):
    stream = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE)
    answers = await push_all(stream, {0: 3, 1: 1, 2: 4, 6: 2, 7: 5, 8: 1})
    assert [answer.status for answer in answers] == [
        NO_CONTEXT, NO_CONTEXT, OK, NO_CONTEXT, NO_CONTEXT, OK,
    ]  # fmt: skip
    np.testing.assert_allclose(answers[-1].probabilities, expected([2, 5, 1])[0], atol=1e-6)


async def test_at_twice_the_rate_every_second_frame_is_held(behavior_bundle, scheduler):
    stream = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE, stride=2)
    levels = {index: index // 2 for index in range(10)}
    answers = await push_all(stream, levels)
    assert [answer.status for answer in answers] == [NO_CONTEXT] * 4 + [OK, HELD] * 3
    assert [answer.frame_index for answer in answers] == list(range(10))
    wanted = expected([0, 1, 2, 3, 4])
    for place, want in enumerate(wanted):
        for answer in answers[4 + 2 * place : 6 + 2 * place]:
            np.testing.assert_allclose(answer.probabilities, want, atol=1e-6)


async def test_a_failing_graph_answers_error_and_the_stream_goes_on(behavior_bundle, scheduler):
    bundle = behavior_bundle()
    stream = BehaviorStream(bundle, scheduler, work=Work.LIVE)
    await push_all(stream, {0: 1, 1: 2, 2: 3})
    bundle.graphs["features"].engine.fail = True
    failed = await stream.push(3, image(4))
    bundle.graphs["features"].engine.fail = False
    after = await stream.push(4, image(5))
    assert (failed.status, failed.probabilities) == (ERROR, None)
    assert after.status is OK


async def test_closing_leaves_nothing_in_work(behavior_bundle, scheduler):
    stream = BehaviorStream(behavior_bundle(), scheduler, work=Work.LIVE)
    for index in range(20):
        stream.push(index, image(index))
    await stream.close()
    assert stream.in_work == 0


def expected_centered(levels: list[int]) -> list[np.ndarray]:
    """Probabilities of the arithmetic graphs with the windows of `CENTERED`."""
    filled = [7, 7, *levels, 7, 7]
    windows = [filled[at : at + 5] for at in range(len(levels))]
    features = [np.array([np.mean(one), one[-1] - one[0]]) for one in windows]
    around = [sum(features[max(0, at - 1) : at + 2]) for at in range(len(levels))]
    return [1 / (1 + np.exp(-one)) for one in around]


async def finished(stream: BehaviorStream, frames: dict[int, int]):
    futures = [stream.push(index, image(level)) for index, level in frames.items()]
    stream.finish()
    return await asyncio.gather(*futures)


@pytest.mark.parametrize("levels", [[3, 1, 4, 1, 5, 2, 0, 4, 1], [3, 1, 4], [2]])
async def test_a_centered_window_is_filled_at_both_ends_however_short_the_recording(
    behavior_bundle, scheduler, levels
):
    stream = BehaviorStream(behavior_bundle(**CENTERED), scheduler, work=Work.ARCHIVE)
    answers = await finished(stream, dict(enumerate(levels)))
    assert [answer.status for answer in answers] == [OK] * len(levels)
    for answer, want in zip(answers, expected_centered(levels), strict=True):
        np.testing.assert_allclose(answer.probabilities, want, atol=1e-6)
    assert stream.in_work == 0


async def test_a_centered_answer_comes_after_exactly_its_look_ahead(behavior_bundle, scheduler):
    bundle = behavior_bundle(**CENTERED)
    stream = BehaviorStream(bundle, scheduler, work=Work.LIVE)
    assert stream.look_ahead == 3
    futures = [stream.push(index, image(index)) for index in range(6)]
    await asyncio.gather(*futures[:3])
    assert [future.done() for future in futures] == [True] * 3 + [False] * 3
    assert bundle.graphs["flow"].engine.rows == 4  # one run for each frame whose window is there
    stream.finish()
    assert all(answer.status is OK for answer in await asyncio.gather(*futures))


async def test_pairs_of_a_centered_window_are_flowed_once(behavior_bundle, scheduler):
    bundle = behavior_bundle(**(CENTERED | {"flow_input_frames": 2, "feature_input_frames": 1}))
    stream = BehaviorStream(bundle, scheduler, work=Work.ARCHIVE)
    await finished(stream, dict(enumerate([1] * 10)))
    assert bundle.graphs["flow"].engine.rows == 9 + 4  # and two at each filled end


async def test_without_a_sequence_the_features_answer(behavior_bundle, scheduler):
    changes = CENTERED | {
        "sequence": "none",
        "future_frames": 2,
        "sequence_past_frames": 0,
        "sequence_future_frames": 0,
    }
    stream = BehaviorStream(behavior_bundle(**changes), scheduler, work=Work.ARCHIVE)
    answers = await finished(stream, dict(enumerate([3, 1, 4])))
    want = 1 / (1 + np.exp(-np.array([np.mean([7, 3, 1, 4, 7]), 0])))
    np.testing.assert_allclose(answers[1].probabilities, want, atol=1e-6)


async def test_missing_frames_end_a_stretch_before_later_ones_come(behavior_bundle, scheduler):
    stream = BehaviorStream(behavior_bundle(**CENTERED), scheduler, work=Work.ARCHIVE)
    before = [stream.push(index, image(level)) for index, level in enumerate([3, 1, 4])]
    for index in range(3, 6):  # max_gap_frames is 2
        assert stream.miss(index).status is BehaviorStatus.NO_FRAME
    answers = await asyncio.wait_for(asyncio.gather(*before), 5)
    for answer, want in zip(answers, expected_centered([3, 1, 4]), strict=True):
        np.testing.assert_allclose(answer.probabilities, want, atol=1e-6)
    after = await finished(stream, {6: 2, 7: 5})
    for answer, want in zip(after, expected_centered([2, 5]), strict=True):
        np.testing.assert_allclose(answer.probabilities, want, atol=1e-6)


async def test_a_failed_feature_costs_its_own_frame_alone(behavior_bundle, scheduler):
    bundle = behavior_bundle(**CENTERED)
    stream = BehaviorStream(bundle, scheduler, work=Work.LIVE)
    futures = [stream.push(index, image(index)) for index in range(6)]
    await asyncio.gather(*futures[:3])  # features of frames 0 to 3 are there
    bundle.graphs["features"].engine.fail = True
    futures.append(stream.push(6, image(6)))  # completes the window of frame 4
    await futures[3]
    bundle.graphs["features"].engine.fail = False
    stream.finish()
    statuses = [answer.status for answer in await asyncio.gather(*futures)]
    assert statuses == [OK] * 4 + [ERROR] + [OK] * 2


@pytest.mark.parametrize(
    ("rate", "stride"), [(0, 1), (30.0003, 1), (28.5, 1), (60, 2), (120, 4), (90, 3)]
)
def test_whole_multiples_of_the_trained_rate_are_strided(behavior_bundle, rate, stride):
    assert choose_stride(behavior_bundle(), rate) == stride


@pytest.mark.parametrize("rate", [10, 25, 45, 37])
def test_other_rates_are_refused_with_both_numbers(behavior_bundle, rate):
    with pytest.raises(FrameRateMismatch, match=rf"{rate} frames/s.*30"):
        choose_stride(behavior_bundle(), rate)


def test_thresholds_can_be_replaced_one_by_one(behavior_bundle):
    thresholds = choose_thresholds(behavior_bundle(), {"moving": 0.9})
    np.testing.assert_allclose(thresholds, [0.5, 0.9])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [({"flying": 0.5}, "bright, moving"), ({"moving": 1.0}, r"\(0, 1\)"), ({"moving": 0}, "is 0")],
)
def test_unfit_thresholds_are_refused(behavior_bundle, wanted, message):
    with pytest.raises(InvalidRequest, match=message):
        choose_thresholds(behavior_bundle(), wanted)

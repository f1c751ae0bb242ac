import dataclasses

import numpy as np

from service.report.bouts import measure_bouts
from service.results import VideoResults
from service.results.video_results import kept_bouts


def test_bouts_are_as_long_as_their_frames_were_shown(results: VideoResults) -> None:
    steps_s = np.random.default_rng(3).uniform(0.01, 0.09, 30)
    times_s = 5.0 + np.cumsum(steps_s)
    uneven = dataclasses.replace(results, pts_ns=np.round(times_s * 1e9).astype(np.int64))
    (answered, found), *_ = uneven.behavior_answers()
    assert answered.behavior is not None
    shown = found.present.copy()
    shown[[10, 11, 14], 0] = False  # three bouts of what was one: 2, 2 and 5 frames
    found = dataclasses.replace(found, present=shown)
    bouts = measure_bouts(uneven, answered, found)
    kept = kept_bouts(answered.behavior, found)
    np.testing.assert_array_equal(kept, shown)
    expected_s = [times_s[off] - times_s[on] for on, off in ((8, 10), (12, 14), (15, 20))]
    assert bouts.statistics.count.tolist() == [3, 1, 0, 0]
    np.testing.assert_allclose(bouts.statistics.time_spent_s[0], sum(expected_s), atol=1e-6)
    np.testing.assert_allclose(bouts.statistics.mean_length_s[0], np.mean(expected_s), atol=1e-6)
    np.testing.assert_allclose(bouts.median_length_s[0], np.median(expected_s), atol=1e-6)
    np.testing.assert_allclose(bouts.longest_s[0], max(expected_s), atol=1e-6)
    np.testing.assert_allclose(bouts.latency_s[:2], times_s[[8, 22]] - times_s[0], atol=1e-6)
    answered_s = times_s[-1] - times_s[6] + 1 / 30
    np.testing.assert_allclose(bouts.statistics.watched_s, answered_s, atol=1e-6)
    np.testing.assert_allclose(bouts.share[0], sum(expected_s) / answered_s, atol=1e-6)
    assert np.isnan(bouts.latency_s[2:]).all()


def test_a_rate_that_was_asked_for_replaces_the_times(results: VideoResults) -> None:
    from msgspec.structs import replace

    options = replace(results.provenance.options, frame_rate_hz=120.0)
    provenance = replace(results.provenance, options=options)
    fast = dataclasses.replace(results, provenance=provenance)
    (answered, found), *_ = fast.behavior_answers()
    bouts = measure_bouts(fast, answered, found)
    np.testing.assert_allclose(bouts.statistics.time_spent_s[:2], [0.1, 0.05])

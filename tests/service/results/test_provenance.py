"""When stored results may stand for an analysis."""

import os
from pathlib import Path

import msgspec
import pytest

from service.bundle import BehaviorSpec
from service.errors import VideoNotFound
from service.results import Provenance, VideoResults, same_work
from service.results.provenance import RequestOptions, describe_bundle, describe_source
from service.values import BundleVersion


@pytest.fixture
def stored(results: VideoResults, video: Path) -> Provenance:
    return msgspec.structs.replace(results.provenance, source=describe_source(video))


def test_the_same_video_bundles_and_options_are_the_same_work(
    stored: Provenance, video: Path
) -> None:
    assert same_work(stored, video, stored.bundles, stored.options)


def test_a_copy_with_another_time_is_the_same_work(stored: Provenance, video: Path) -> None:
    os.utime(video, ns=(1, 1))
    assert same_work(stored, video, stored.bundles, stored.options)


def test_other_bytes_of_the_same_length_are_other_work(stored: Provenance, video: Path) -> None:
    video.write_bytes(b"9876543210")
    os.utime(video, ns=(1, 1))
    assert not same_work(stored, video, stored.bundles, stored.options)


def test_a_longer_file_is_other_work(stored: Provenance, video: Path) -> None:
    video.write_bytes(b"0123456789+")
    assert not same_work(stored, video, stored.bundles, stored.options)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"manifest_sha256": "d" * 64},
        {"engine": "openvino:cpu"},
        {"precision": "bf16"},
    ],
)
def test_another_bundle_or_engine_is_other_work(
    stored: Provenance, video: Path, change: dict[str, object]
) -> None:
    first, *others = stored.bundles
    bundles = (msgspec.structs.replace(first, **change), *others)
    assert not same_work(stored, video, bundles, stored.options)


def test_another_option_is_other_work(stored: Provenance, video: Path) -> None:
    assert not same_work(stored, video, stored.bundles, RequestOptions(frame_limit=5))


def test_the_stride_follows_from_the_rate_and_is_not_compared(
    stored: Provenance, video: Path
) -> None:
    pose, activity = stored.bundles
    assert activity.behavior is not None
    strided = msgspec.structs.replace(
        activity, behavior=msgspec.structs.replace(activity.behavior, stride=2)
    )
    analyzed = msgspec.structs.replace(stored, bundles=(pose, strided))
    assert same_work(analyzed, video, stored.bundles, stored.options)


def test_thresholds_of_a_request_replace_the_bundles_own() -> None:
    spec = BehaviorSpec(
        behaviors=("walk", "rear"),
        exclusive=False,
        thresholds=(0.4, 0.6),
        min_bout_frames=(1, 2),
        frame_rate_hz=30,
        flow_frames=1,
        past_frames=1,
        future_frames=0,
        feature_size=4,
        state_size=4,
    )
    described = describe_bundle(
        BundleVersion("activity", 1),
        manifest_sha256="",
        engine="fake:cpu",
        precision="fp32",
        pose=None,
        behavior=spec,
        thresholds={"rear": 0.7},
    )
    assert described.behavior is not None
    assert described.behavior.thresholds == (0.4, 0.7)


def test_a_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFound, match=r"gone\.mp4 cannot be read: No such file"):
        describe_source(tmp_path / "gone.mp4")

"""Dynamic cropping, on its own and through a shipped bundle on large frames with a small animal."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from service.archive import ArchiveConfig, VideoAnalysis, VideoOptions
from service.bundle import InputSpec, PoseSpec
from service.commands._shipped import SHIPPED_MODELS
from service.config import ServiceConfig
from service.dynamic_crop import AnimalFollower, DynamicCrop
from service.encoders import ENCODERS
from service.errors import InvalidRequest
from service.frames import EncodedFrame
from service.outcomes import Outcome
from service.preprocess import CropRegion
from service.repository import LoadedBundle, Selection
from service.runtime import Runtime, local_runtime
from service.session_options import SessionOptions
from service.simulation import Recording, SimulationSettings, simulate
from service.values import Poses, ResultChunk
from service.video.pyav import VideoFile

MODEL = "openfield-mouse"
SIZE = (1280, 960)
SPEC = InputSpec(width_px=384, height_px=288, color="rgb", fit="letterbox")


def at(*points: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(points, np.float32)


def test_a_crop_holds_the_points_and_keeps_the_aspect_ratio_of_the_model() -> None:
    crop = DynamicCrop().around(at((600, 500), (700, 560)), SPEC, *SIZE)
    assert (crop.width_px, crop.height_px) == (512, 384)  # 1280x960 by the zoom of 2.5
    assert abs(crop.x_px + crop.width_px / 2 - 650) <= 1
    assert abs(crop.y_px + crop.height_px / 2 - 530) <= 1


def test_a_large_animal_widens_the_crop_by_its_margin() -> None:
    crop = DynamicCrop(margin_px=20).around(at((300, 300), (860, 310)), SPEC, *SIZE)
    assert (crop.width_px, crop.height_px) == (600, 450)
    high = DynamicCrop(margin_px=20).around(at((300, 300), (310, 860)), SPEC, *SIZE)
    assert (high.width_px, high.height_px) == (800, 600)


def test_pixels_are_never_magnified() -> None:
    crop = DynamicCrop(max_zoom=100).around(at((600, 500)), SPEC, *SIZE)
    assert (crop.width_px, crop.height_px) == (384, 288)
    small = DynamicCrop().around(at((60, 50)), SPEC, 200, 150)
    assert small == CropRegion(0, 0, 200, 150)


def test_a_stretched_model_keeps_the_distortion_of_whole_frames() -> None:
    spec = InputSpec(width_px=100, height_px=100, color="rgb", fit="stretch")
    crop = DynamicCrop(max_zoom=2).around(at((600, 500)), spec, *SIZE)
    assert (crop.width_px, crop.height_px) == (640, 480)


@pytest.mark.parametrize("point", [(0, 0), (1279, 959), (640, 480), (3, 950), (-20, 2000)])
@pytest.mark.parametrize(
    "within", [None, CropRegion(100, 50, 900, 700), CropRegion(700, 600, 90, 300)]
)
def test_a_crop_never_leaves_the_frame_or_the_static_crop(
    point: tuple[float, float], within: CropRegion | None
) -> None:
    crop = DynamicCrop().around(at(point), SPEC, *SIZE, within)
    area = within or CropRegion(0, 0, *SIZE)
    assert area.x_px <= crop.x_px
    assert area.y_px <= crop.y_px
    assert crop.x_px + crop.width_px <= area.x_px + area.width_px
    assert crop.y_px + crop.height_px <= area.y_px + area.height_px
    assert crop.width_px > 0
    assert crop.height_px > 0


@pytest.mark.parametrize(
    "wrong",
    [{"margin_px": -1}, {"max_zoom": 0.5}, {"confidence_cutoff": 2}, {"max_zoom": float("nan")}],
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        DynamicCrop(**wrong)


def pose_of(loaded: LoadedBundle, **changes: object) -> LoadedBundle:
    """The same bundle with three keypoints and other facts of its poses."""
    pose = PoseSpec(**{"keypoints": ("snout", "ear", "tail"), **changes})
    manifest = msgspec.structs.replace(loaded.bundle.manifest, pose=pose)
    return replace(loaded, bundle=replace(loaded.bundle, manifest=manifest))


def seen(points: NDArray[np.float32], confidence: tuple[float, ...]) -> Poses:
    return Poses(points[None], np.array([confidence], np.float32))


def test_a_follower_takes_all_where_the_animal_is_lost(pose_bundle: LoadedBundle) -> None:
    manifest = pose_of(pose_bundle).bundle.manifest
    follower = AnimalFollower(DynamicCrop(), manifest)
    static = CropRegion(10, 10, 1000, 900)
    points = at((600, 500), (620, 500), (640, 510))
    assert follower.crop(*SIZE, static) == static  # nothing was seen yet
    follower.see(4, seen(points, (0.9, 0.9, 0.1)))
    near = follower.crop(*SIZE, static)
    assert near is not None
    assert near.width_px < 500
    follower.see(3, seen(points, (0.0, 0.0, 0.0)))  # an answer that comes late
    assert follower.crop(*SIZE, static) == near
    follower.see(5, seen(points, (0.9, 0.5, 0.1)))  # one point is not enough
    assert follower.crop(*SIZE, static) == static
    assert follower.crop(*SIZE) is None
    follower.see(6, seen(points, (0.9, 0.9, 0.9)))
    elsewhere = CropRegion(0, 0, 200, 200)
    assert follower.crop(*SIZE, elsewhere) == elsewhere


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"max_animals": 3}, "finds 3"), ({"unique_keypoints": ("tail",)}, "would hide tail")],
)
def test_bundles_that_cannot_be_followed_are_refused(
    pose_bundle: LoadedBundle, changes: dict[str, object], message: str
) -> None:
    options = VideoOptions(
        selections=(Selection(pose_of(pose_bundle, **changes)),), dynamic_crop=DynamicCrop()
    )
    with pytest.raises(InvalidRequest, match=message):
        VideoAnalysis(options, None, None, ArchiveConfig(), None)


def test_a_request_without_a_pose_bundle_is_refused(behavior_bundle) -> None:
    options = VideoOptions(selections=(Selection(behavior_bundle()),), dynamic_crop=DynamicCrop())
    with pytest.raises(InvalidRequest, match="follows the keypoints of a pose bundle"):
        VideoAnalysis(options, None, None, ArchiveConfig(), None)


CORNERS = [(700, 500)] * 20 + [None] * 4 + [(60, 40)] * 12
"""Where the small picture lies in each large frame; None: the animal is hidden."""


@pytest.fixture(scope="module")
def recording() -> Recording:
    return simulate(SimulationSettings(width_px=480, height_px=360, duration_s=1.2, seed=1))


@pytest.fixture(scope="module")
def video(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mouse of 14 px of the model input that is hidden for 4 frames and then is elsewhere."""
    path = tmp_path_factory.mktemp("large") / "large.avi"
    rng = np.random.default_rng(0)
    ground = rng.integers(95, 105, (*SIZE[::-1], 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30, options=ENCODERS["mjpeg"].options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        for index, corner in enumerate(CORNERS):
            pixels = ground.copy()
            if corner is not None:
                x, y = corner
                pixels[y : y + 360, x : x + 480] = recording.render(index)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with local_runtime(SHIPPED_MODELS, bundles=[MODEL]) as opened:
        yield opened


async def analyze(
    runtime: Runtime, video: Path, **options: object
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints (T, K, 2) and confidence (T, K)."""
    events = runtime.analyze(video, VideoOptions(selections=runtime.select([MODEL]), **options))
    chunks = [one.poses[0] async for one in events if isinstance(one, ResultChunk)]
    return (
        np.concatenate([one.keypoints_xy for one in chunks])[:, 0],
        np.concatenate([one.confidence for one in chunks])[:, 0],
    )


def errors(recording: Recording, keypoints_xy: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T, K) px; NaN where the animal or the keypoint cannot be seen."""
    shown = np.array([one or (np.nan, np.nan) for one in CORNERS])
    truth = recording.keypoints_xy[: len(CORNERS), 0] + shown[:, None]
    truth[~recording.visible[: len(CORNERS), 0]] = np.nan
    return np.linalg.norm(keypoints_xy - truth, axis=-1)


async def test_a_small_animal_is_found_more_exactly_and_again_after_it_was_lost(
    runtime: Runtime, recording: Recording, video: Path
) -> None:
    whole, _ = await analyze(runtime, video)
    followed, confidence = await analyze(runtime, video, dynamic_crop=DynamicCrop())
    first = np.nanmean(errors(recording, followed)[1:20])
    assert first < 0.6 * np.nanmean(errors(recording, whole)[1:20])
    assert (confidence[20:24].max(axis=1) < 0.6).any()  # it was lost while it was hidden
    again = np.nanmean(errors(recording, followed)[27:])
    assert again < 0.6 * np.nanmean(errors(recording, whole)[27:])
    one_by_one = ServiceConfig(archive=ArchiveConfig(frames_in_flight=1))
    async with local_runtime(SHIPPED_MODELS, bundles=[MODEL], config=one_by_one) as other:
        for opened in (runtime, other):
            twice, _ = await analyze(opened, video, dynamic_crop=DynamicCrop())
            np.testing.assert_array_equal(followed, twice)


async def test_a_static_crop_besides_changes_no_coordinates(
    runtime: Runtime, recording: Recording, video: Path
) -> None:
    found, _ = await analyze(
        runtime,
        video,
        dynamic_crop=DynamicCrop(),
        crop=CropRegion(500, 300, 780, 660),
        frame_limit=20,
    )
    error = errors(recording, np.resize(found, (len(CORNERS), *found.shape[1:])))[1:20]
    assert np.nanmean(error) < 4


async def test_live_frames_sent_one_by_one_give_what_the_file_gives(
    runtime: Runtime, video: Path
) -> None:
    selections = runtime.select([MODEL])
    session = runtime.live_session(
        "s",
        SessionOptions(selections=selections, dynamic_crop=DynamicCrop(), frames_in_flight=2),
    )
    session.start()
    file = VideoFile(video)
    pixels = np.empty(file.shape, np.uint8)
    answers = session.answers()
    outcomes: list[Outcome] = []
    for row in file.rows():
        file.convert(row.picture, pixels)
        await session.offer(
            EncodedFrame(row.frame_index, 0, "rgb24", *SIZE, crop=None, data=pixels.tobytes())
        )
        outcomes.append(await anext(answers))
    session.finish()
    assert [one async for one in answers] == []
    await session.close()
    live_xy = np.stack([one.poses[0][1].keypoints_xy[0] for one in outcomes])
    keypoints_xy, confidence = await analyze(runtime, video, dynamic_crop=DynamicCrop())
    np.testing.assert_allclose(live_xy, keypoints_xy, atol=1e-3)
    crops = [one.crops[0] for one in outcomes]
    assert crops[0] is None
    assert crops[1] is not None
    assert (crops[1].width_px, crops[1].height_px) == (512, 384)
    for before, crop in zip(confidence, crops[1:], strict=False):
        assert (crop is None) == ((before >= 0.6).sum() < 2)

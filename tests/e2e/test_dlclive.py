"""Scripts written for DLC-Live against the real server: the poses of a stream, one by one."""

import warnings

import ethostream
import numpy as np
import pytest
from ethostream import FrameOutcome, errors
from ethostream.dlclive import DLCLive, Processor

from clients.testdata.record import MODELS
from clients.testdata.record import POSE as VECTOR_POSE
from clients.testdata.scenes import picture
from tests.e2e.wire import BEHAVIOR, POSE, read_frames


@pytest.fixture(scope="module")
def frames(recordings):
    """(H, W, 3) RGB."""
    return read_frames(recordings / "short.mp4")[20:28]


def streamed(server, images, **settings) -> list[np.ndarray]:
    """(K, 3) poses of the same images by a stream with one frame in flight."""
    with (
        ethostream.Client(server.address) as client,
        client.stream(POSE, max_frames_in_flight=1, **settings) as stream,
    ):
        for image in images:
            stream.send(image)
        stream.finish()
        outcomes = [one for one in stream if isinstance(one, FrameOutcome)]
    return [np.dstack([one.poses[0].keypoints_xy, one.poses[0].confidence])[0] for one in outcomes]


class Recording(Processor):
    """Keeps what it sees, and gives back half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[np.ndarray, float]] = []

    def process(self, pose, **kwargs):
        self.seen.append((pose.copy(), kwargs["frame_time"]))
        return pose[:2]


def test_a_script_for_dlc_live_gets_the_poses_of_a_stream(server, frames):
    wanted = streamed(server, frames)
    dlc_live = DLCLive(POSE, server=server.address)
    try:
        assert dlc_live.cfg is None
        first = dlc_live.init_inference(frames[0][..., ::-1])  # OpenCV's order
        found = [first] + [dlc_live.get_pose(one[..., ::-1]) for one in frames[1:]]
        assert dlc_live.pose is found[-1]
        names = ["snout", "leftear", "rightear", "tailbase"]
        assert dlc_live.cfg["all_joints_names"] == names
        assert dlc_live.cfg["metadata"]["bodyparts"] == names
    finally:
        dlc_live.close()
        dlc_live.close()
    assert found[0].shape == (4, 3)
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_a_processor_sees_each_pose_and_says_what_is_returned(server, frames):
    processor = Recording()
    with DLCLive(POSE, processor=processor, convert2rgb=False, server=server.address) as dlc_live:
        returned = dlc_live.init_inference(frames[0], frame_time=0.5)
        assert dlc_live.get_pose(frames[1], frame_time=0.75) is dlc_live.pose
    assert returned.shape == (2, 3)
    assert [time for _, time in processor.seen] == [0.5, 0.75]
    np.testing.assert_allclose(
        [pose for pose, _ in processor.seen], streamed(server, frames[:2]), atol=0.05
    )
    assert Processor().process(returned) is returned
    assert Processor().save("nothing") == 0


def test_cropping_gives_px_of_the_frame_as_given(server, frames):
    height_px, width_px = frames[0].shape[:2]
    region = [8, width_px - 8, 4, height_px - 4]  # x1, x2, y1, y2
    crop = ethostream.Crop(8, 4, width_px - 16, height_px - 8)
    with DLCLive(
        POSE, cropping=region, convert2rgb=False, server=server.address
    ) as dlc_live:  # connects with the first pose
        found = [dlc_live.get_pose(one) for one in frames[:3]]
        with pytest.raises(errors.InvalidFrame, match="not inside a frame of shape"):
            dlc_live.get_pose(frames[0][:50])
        with pytest.raises(errors.InvalidFrame, match="not list"):
            dlc_live.get_pose([[1, 2]])
    np.testing.assert_allclose(found, streamed(server, frames[:3], crop=crop), atol=0.05)


def test_dynamic_crops_follow_the_animal(server, frames):
    follow = ethostream.DynamicCrop(margin_px=40, confidence_cutoff=0.4)
    with DLCLive(
        POSE, dynamic=(True, 0.4, 40), convert2rgb=False, server=server.address
    ) as dlc_live:
        found = [dlc_live.get_pose(one) for one in frames]
    np.testing.assert_allclose(found, streamed(server, frames, dynamic_crop=follow), atol=0.05)


def test_frames_of_another_size_need_another_beginning(server, frames):
    with DLCLive(POSE, server=server.address) as dlc_live:
        dlc_live.init_inference(frames[0])
        with pytest.raises(errors.InvalidFrame, match="but the stream began with"):
            dlc_live.get_pose(frames[0][::2, ::2])
        assert dlc_live.get_pose(frames[1]).shape == (4, 3)
        assert dlc_live.init_inference(frames[0][::2, ::2]).shape == (4, 3)
        assert dlc_live.init_inference() is None


def test_several_animals_have_an_axis_of_their_own(start_server):
    server = start_server("--engine", "onnxruntime", "--precision", "fp32", models=MODELS)
    with DLCLive(VECTOR_POSE, single_animal=False, server=server.address) as dlc_live:
        poses = dlc_live.init_inference(picture(0))
        assert poses.shape == (2, 2, 3)
        np.testing.assert_array_equal(poses[0, 0], np.float32([4.5, 10.5, 200 / 256]))
    with (
        DLCLive(VECTOR_POSE, server=server.address) as dlc_live,
        pytest.raises(errors.InvalidRequest, match="2 animals; set single_animal=False"),
    ):
        dlc_live.init_inference(picture(0))


def test_what_the_server_says_reaches_the_script(server, frames):
    with (
        DLCLive("cat", server=server.address) as dlc_live,
        pytest.raises(errors.NotFound, match="'cat' is not loaded; loaded are"),
    ):
        dlc_live.init_inference(frames[0])
    with (
        DLCLive(BEHAVIOR, server=server.address) as dlc_live,
        pytest.raises(errors.InvalidRequest, match="not poses; name a pose bundle"),
    ):
        dlc_live.init_inference(frames[0])
    with DLCLive(POSE, server="127.0.0.1:1") as dlc_live, pytest.raises(errors.Unavailable):
        dlc_live.init_inference(frames[0])


def test_a_server_that_comes_back_answers_again(start_server, frames):
    first = start_server("--load", POSE)
    with DLCLive(POSE, server=first.address) as dlc_live:
        dlc_live.init_inference(frames[0])
        first.process.kill()
        first.process.wait(10)
        start_server("--load", POSE, "--listen", first.address)
        lost = 0
        for frame in frames:
            try:
                pose = dlc_live.get_pose(frame)
            except errors.Unavailable:
                lost += 1
        assert lost <= 1
        assert pose.shape == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"model_path": "exported-models/DLC_mouse"}, "is a path.*models list.*import dlc"),
        ({"cropping": [0, 10, 5]}, r"cropping is \[0, 10, 5\]; give \[x1, x2, y1, y2\]"),
        ({"cropping": [10, 0, 0, 5]}, "0 <= x1 < x2"),
        ({"dynamic": (True, 0.5)}, "give .on, confidence, margin in px."),
    ],
)
def test_a_wrong_argument_is_told_before_connecting(arguments, text):
    with pytest.raises(errors.InvalidRequest, match=text):
        DLCLive(**{"model_path": "mouse", **arguments})


def test_what_has_no_effect_is_said_once_and_what_asks_for_nothing_is_silent():
    with pytest.warns(UserWarning, match="has no effect") as told:
        DLCLive("mouse", model_type="tensorrt", precision="FP16", device="cuda", resize=0.5).close()
    assert len(told) == 4
    assert "--precision" in str(told[1].message)
    assert "the server resizes each frame" in str(told[3].message)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DLCLive(
            "mouse",
            model_type="pytorch",
            precision="FP32",
            device=None,
            resize=None,
            display=False,
            pcutoff=0.6,
            tf_config=None,
        ).close()
    with pytest.raises(TypeError, match="no argument 'croping'"):
        DLCLive("mouse", croping=[0, 1, 0, 1])

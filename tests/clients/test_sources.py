import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from ethostream import errors, sources
from ethostream.sources import open_source

from tests.clients.network_cameras import SIZE, http_camera, levels, pictures, rtsp_camera


def seen(images: list[np.ndarray]) -> list[int]:
    return [round(float(one.mean())) for one in images]


def test_every_frame_of_an_rtsp_camera_comes_in_order() -> None:
    before = time.time_ns()
    images, times = [], []
    with rtsp_camera(20) as address:
        source = open_source(address)
        assert source.frame_rate_hz == 0.0  # sent as they come
        for frame in source:
            assert isinstance(frame.image, np.ndarray)
            images.append(frame.image)
            times.append(frame.capture_time_ns)
    assert images[0].shape == (SIZE[1], SIZE[0], 3)
    # Opening takes the first frames to learn the size; none is lost by it.
    assert seen(images) == pytest.approx(levels(20), abs=2)
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < time.time_ns()


def test_pictures_of_an_http_camera_come_in_order_until_it_breaks_off() -> None:
    jpegs = [
        cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"))[1].tobytes()
        for frame in pictures(12)
    ]
    images: list[np.ndarray] = []
    with http_camera(jpegs) as address:
        frames = (np.asarray(frame.image) for frame in open_source(address, color="gray"))
        with pytest.raises(errors.SourceLost, match="broke off"):
            images.extend(frames)
    assert images[0].shape == (SIZE[1], SIZE[0])
    assert seen(images) == pytest.approx(levels(12), abs=2)


def test_a_camera_that_falls_silent_is_told_after_its_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "_SILENCE_SECONDS", 4.0)
    images: list[np.ndarray] = []
    with rtsp_camera(10, stays_silent=True) as address:
        frames = (np.asarray(frame.image) for frame in open_source(address))
        with pytest.raises(errors.SourceLost, match=r"broke off: nothing came for 4 s") as told:
            images.extend(frames)
    assert seen(images) == pytest.approx(levels(10), abs=2)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("ending", ["h264", "ts"])
def test_pictures_that_a_damaged_one_shows_through_are_left_out(
    tmp_path: Path, ending: str
) -> None:
    """The gray level of a frame that a decoder made up is not its own."""
    path = tmp_path / f"camera.{ending}"
    wanted = [40 + 3 * index for index in range(60)]
    with av.open(str(path), "w") as container:
        options = {"g": "20", "bf": "0", "sc_threshold": "0", "tune": "zerolatency"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        random = np.random.default_rng(0)
        for index, level in enumerate(wanted):
            pixels = random.integers(-20, 20, (64, 96, 1)) + np.full((64, 96, 3), level)
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                data = bytearray(packet)
                if index == 25:
                    data[len(data) // 3 :] = b"\xff" * (len(data) - len(data) // 3)
                damaged = av.Packet(bytes(data))
                damaged.pts, damaged.dts = packet.pts, packet.dts
                damaged.time_base, damaged.is_keyframe = packet.time_base, packet.is_keyframe
                damaged.stream = stream
                container.mux(damaged)
    source = open_source(str(path))
    images = [np.asarray(frame.image) for frame in source]
    assert seen(images) == pytest.approx([*wanted[:25], *wanted[40:]], abs=2)
    assert source.damaged == 15


def test_an_address_where_nothing_is_told_without_the_password() -> None:
    with pytest.raises(errors.InvalidRequest, match=r"cannot open 'rtsp://127") as told:
        open_source("rtsp://user:secret@127.0.0.1:9/live")
    assert "secret" not in str(told.value)


def test_other_protocols_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(errors.InvalidRequest, match="ftp:// is no protocol of a live stream"):
        open_source("ftp://somewhere/video.mp4")

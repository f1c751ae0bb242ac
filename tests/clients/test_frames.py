"""Images become frames for the wire, or an error that says what fits."""

import numpy as np
import pytest
from ethostream.errors import InvalidFrame
from ethostream.frames import encode_frame
from ethostream.v1 import frame_pb2
from ethostream.values import Crop

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def _encode(image, **options):
    return encode_frame(image, frame_index=7, capture_time_ns=11, **options)


@pytest.mark.parametrize(
    ("image", "options", "encoding"),
    [
        (GRAY, {}, frame_pb2.FRAME_ENCODING_GRAY8),
        (GRAY[:, :, None], {}, frame_pb2.FRAME_ENCODING_GRAY8),
        (GRAY, {"color": "bgr"}, frame_pb2.FRAME_ENCODING_GRAY8),
        (COLOR, {}, frame_pb2.FRAME_ENCODING_RGB24),
        (COLOR, {"color": "bgr"}, frame_pb2.FRAME_ENCODING_BGR24),
        (COLOR, {"encoding": "bgr"}, frame_pb2.FRAME_ENCODING_BGR24),
        (COLOR[::-1, ::-1], {}, frame_pb2.FRAME_ENCODING_RGB24),
    ],
)
def test_pixels_are_sent_row_by_row_in_the_right_encoding(image, options, encoding) -> None:
    frame = _encode(image, **options)
    assert frame.encoding == encoding
    assert (frame.height_px, frame.width_px) == (3, 4)
    sent = np.frombuffer(frame.data, dtype=np.uint8).reshape(image.shape)
    np.testing.assert_array_equal(sent, image)
    assert (frame.frame_index, frame.capture_time_ns) == (7, 11)
    assert not frame.HasField("crop")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"\xff\xd8\xff\xe0rest", frame_pb2.FRAME_ENCODING_JPEG),
        (b"\x89PNG\r\n\x1a\nrest", frame_pb2.FRAME_ENCODING_PNG),
    ],
)
def test_files_are_told_by_their_first_bytes(data: bytes, encoding: int) -> None:
    for same in (data, bytearray(data), memoryview(data)):
        frame = _encode(same)
        assert (frame.encoding, frame.data) == (encoding, data)
    assert _encode(b"odd", encoding="jpeg").encoding == frame_pb2.FRAME_ENCODING_JPEG


def test_a_crop_travels_with_the_frame() -> None:
    crop = _encode(GRAY, crop=Crop(1, 2, 3, 4)).crop
    assert (crop.x_px, crop.y_px, crop.width_px, crop.height_px) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("image", "options", "text"),
    [
        (GRAY.astype(np.float32), {}, "float32"),
        (np.empty((0, 4), dtype=np.uint8), {}, r"\(0, 4\) has no pixels"),
        (np.zeros((2, 3, 4), dtype=np.uint8), {}, r"\(2, 3, 4\)"),
        (COLOR, {"encoding": "gray"}, "choose rgb or bgr"),
        (COLOR, {"color": "gray"}, "is not gray"),
        (GRAY, {"encoding": "rgb"}, "choose gray"),
        (GRAY, {"encoding": "jpeg"}, "bytes of the file"),
        (b"", {}, "0 bytes"),
        (b"GIF89a", {}, "neither like JPEG nor like PNG"),
        (b"\xff\xd8\xff", {"encoding": "rgb"}, "without a size"),
        ([[1, 2]], {}, "not list"),
        (GRAY, {"crop": Crop(-1, 0, 2, 2)}, "outside"),
        (GRAY, {"crop": Crop(0, 0, 0, 2)}, "outside"),
    ],
)
def test_an_image_that_cannot_be_sent_says_why(image, options, text: str) -> None:
    with pytest.raises(InvalidFrame, match=text):
        _encode(image, **options)

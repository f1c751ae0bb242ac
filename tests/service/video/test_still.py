import struct
import zlib

import cv2
import numpy as np
import pytest

from service.errors import FrameDamaged, FrameTooLarge, InvalidFrame
from service.video import VideoLimits
from service.video.still import decode_still, read_size


def encode(kind, pixels, *parameters):
    """A JPEG or PNG file of RGB or gray pixels."""
    image = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(f".{kind}", image, list(parameters))[1].tobytes()


@pytest.fixture
def colors():
    image = np.zeros((40, 61, 3), np.uint8)
    image[:20, :30] = (200, 20, 20)
    image[20:, 30:] = (20, 20, 200)
    return image


def test_a_png_comes_back_exactly_in_rgb(colors):
    assert np.array_equal(decode_still(encode("png", colors), "png"), colors)


def test_a_jpeg_comes_back_in_rgb(colors):
    pixels = decode_still(encode("jpg", colors), "jpeg")
    assert pixels.shape == (40, 61, 3)
    assert np.abs(pixels.astype(int) - colors).mean() < 4


@pytest.mark.parametrize(("kind", "encoding"), [("jpg", "jpeg"), ("png", "png")])
def test_a_gray_picture_stays_gray(colors, kind, encoding):
    gray = colors[..., 0]
    pixels = decode_still(encode(kind, gray), encoding)
    assert pixels.shape == (40, 61)
    assert np.abs(pixels.astype(int) - gray).mean() < 4


def test_a_progressive_jpeg_is_read(colors):
    data = encode("jpg", colors, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode_still(data, "jpeg").shape == (40, 61, 3)


def test_orientation_tags_are_ignored(colors):
    data = encode("jpg", colors)
    tags = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + data[2:]
    assert decode_still(turned, "jpeg").shape == (40, 61, 3)


def test_the_alpha_channel_is_dropped(colors):
    data = cv2.imencode(".png", np.dstack([colors[..., ::-1], colors[..., 0]]))[1].tobytes()
    assert np.array_equal(decode_still(data, "png"), colors)


def png_bomb(width_px, height_px):
    """A few bytes that say they are a huge picture."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_by_its_header():
    with pytest.raises(FrameTooLarge, match=r"60000x50000 px, over the limit of 8192x8192"):
        decode_still(png_bomb(60_000, 50_000), "png")
    with pytest.raises(FrameTooLarge, match="is 8000x8000 = 64000000 pixels"):
        decode_still(png_bomb(8000, 8000), "png")
    with pytest.raises(FrameTooLarge, match="61x40 px, over the limit of 60x60"):
        decode_still(encode("jpg", np.zeros((40, 61), np.uint8)), "jpeg", VideoLimits(60, 60))
    with pytest.raises(FrameTooLarge, match="61x40 px, over the limit of 30x8192"):
        decode_still(
            encode("jpg", np.zeros((40, 61), np.uint8)), "jpeg", VideoLimits(max_width_px=30)
        )


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a" * 20])
def test_bytes_of_something_else_are_refused(data, encoding):
    with pytest.raises(InvalidFrame, match=f"{len(data)} bytes .* no {encoding}"):
        decode_still(data, encoding)


def test_a_declared_encoding_that_is_another_one_is_refused(colors):
    with pytest.raises(InvalidFrame, match="no jpeg"):
        decode_still(encode("png", colors), "jpeg")


def test_a_png_of_16_bits_is_refused():
    data = encode("png", np.zeros((4, 5), np.uint16))
    with pytest.raises(InvalidFrame, match="16 bits a channel; send 8"):
        decode_still(data, "png")


def test_a_cut_png_is_refused(colors):
    noisy = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    data = encode("png", noisy)
    with pytest.raises(FrameDamaged, match="damaged"):
        decode_still(data[: len(data) // 2], "png")
    assert colors.any()


def test_a_cut_jpeg_is_refused():
    noisy = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    data = encode("jpg", noisy)
    with pytest.raises(FrameDamaged, match="damaged"):
        decode_still(data[: len(data) // 2], "jpeg")


def test_sizes_and_channels_are_read_from_the_header(colors):
    assert read_size(encode("jpg", colors), "jpeg") == (61, 40, 3)
    assert read_size(encode("png", colors[..., 0]), "png") == (61, 40, 1)


def test_random_bytes_behind_a_good_header_never_crash():
    random = np.random.default_rng(3)
    picture = random.integers(0, 255, (48, 48, 3), np.uint8)
    refused = 0
    for kind, encoding in (("jpg", "jpeg"), ("png", "png")):
        good = encode(kind, picture)
        for _ in range(60):
            data = bytearray(good)
            for place in random.integers(0, len(data), 8):
                data[place] = random.integers(256)
            try:
                assert decode_still(bytes(data), encoding).dtype == np.uint8
            except (InvalidFrame, FrameTooLarge):
                refused += 1
    assert refused > 20

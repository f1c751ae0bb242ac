"""Folders of pictures are read as videos, in natural order; damage costs one frame."""

import asyncio
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from service.errors import InvalidVideo
from service.values import FrameStatus
from service.video import DecodeWorkers
from service.video.pictures import PictureList, PictureReader, natural_key
from service.video.tiff import count_pages


def write(path: Path, value: int, *, size: tuple[int, int] = (40, 30), bits: int = 8) -> Path:
    shape = (size[1], size[0], 3)
    pixels = (
        np.full(shape, value, np.uint8) if bits == 8 else np.full(shape, value * 257, np.uint16)
    )
    assert cv2.imwrite(str(path), pixels)
    return path


def test_names_are_sorted_as_people_do() -> None:
    names = ["img10.png", "img2.png", "Img1.png", "img2b.png"]
    ordered = sorted(map(Path, names), key=natural_key)
    assert [one.name for one in ordered] == ["Img1.png", "img2.png", "img2b.png", "img10.png"]


def test_all_kinds_of_files_are_read_as_8_bit_rgb(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"a.{ending}", 90) for ending in ("png", "jpg", "tiff", "bmp", "webp")
    ]
    files.append(write(tmp_path / "deep.png", 90, bits=16))
    files.append(write(tmp_path / "deep.tif", 90, bits=16))
    for frame in PictureReader(files).frames():
        assert frame.pixels is not None, frame.reason
        assert frame.pixels.shape == (30, 40, 3)
        assert frame.pixels.dtype == np.uint8
        assert abs(float(frame.pixels.mean()) - 90) < 2


def write_pages(path: Path, pages: int, *, has_preview: bool = False, is_big: bool = False) -> Path:
    images = [Image.new("RGB", (40, 30), (90, 90, 90)) for _ in range(pages)]
    if has_preview:
        images.append(Image.new("RGB", (20, 15)))
        images[-1].encoderinfo = {"tiffinfo": {254: 1}}
    images[0].save(path, save_all=True, append_images=images[1:], big_tiff=is_big)
    return path


@pytest.mark.parametrize("is_big", [False, True])
def test_a_file_of_several_pages_is_not_taken_for_its_first(tmp_path: Path, is_big: bool) -> None:
    files = [
        write_pages(tmp_path / "one.tif", 1, is_big=is_big),
        write_pages(tmp_path / "stack.tif", 3, is_big=is_big),
        write_pages(tmp_path / "preview.tif", 1, has_preview=True, is_big=is_big),
    ]
    one, stack, preview = PictureReader(files).frames()
    assert (one.status, preview.status) == (FrameStatus.OK, FrameStatus.OK)
    assert stack.status is FrameStatus.CORRUPT
    assert "(stack.tif): it holds 3 pages" in stack.reason
    with pytest.raises(InvalidVideo, match=r"stack\.tif.* save each page as a file"):
        PictureReader(files[1:2])


@pytest.mark.parametrize("order", [b"II*\0", b"MM\0*", b"II+\0"])
def test_a_damaged_list_of_pages_ends(order: bytes) -> None:
    assert count_pages(order + b"\xff" * 40) == 0
    assert count_pages(order) == 0
    assert count_pages(b"\x89PNG") == 0


def test_a_list_of_pages_that_leads_back_ends() -> None:
    number = struct.Struct("<I").pack
    assert count_pages(b"II*\0" + number(8) + b"\0\0" + number(8)) == 1


async def test_pictures_of_another_size_do_not_write_over_each_other(tmp_path: Path) -> None:
    # Memory is given back by fours: that of the last three comes late.
    sizes = [(40, 30)] * 23 + [(60, 40)] * 57
    files = [
        write(tmp_path / f"{number}.png", number, size=size) for number, size in enumerate(sizes)
    ]
    pictures = PictureList(tmp_path, tuple(files))
    async with DecodeWorkers(1, slots=5) as workers, workers.open(pictures) as reader:
        seen = []
        async for one in reader:
            assert one.pixels is not None
            await asyncio.sleep(0.002)  # the worker fills what it may
            seen.append(int(one.pixels.max()))
    assert seen == list(range(80))


async def test_workers_read_pictures_of_several_sizes_and_step_over_bad_ones(
    tmp_path: Path,
) -> None:
    files = [write(tmp_path / "1.png", 50), write(tmp_path / "2.png", 60, size=(20, 90))]
    files.append(tmp_path / "3.png")
    files[2].write_bytes(files[0].read_bytes()[:60])
    files += [write(tmp_path / "4.png", 80), tmp_path / "gone.png", write(tmp_path / "6.tif", 90)]
    async with DecodeWorkers(1) as workers:
        async with workers.open(PictureList(tmp_path, tuple(files))) as reader:
            assert (reader.info.width_px, reader.info.height_px) == (40, 30)
            assert reader.info.claimed_frames == 6
            rows = [
                (one.status, None if one.pixels is None else (one.pixels.shape, one.pixels.max()))
                async for one in reader
            ]
            assert "(3.png)" in reader.faults[0].reason
        async with workers.open(
            PictureList(tmp_path, tuple(files)), first_frame=3, frame_limit=1
        ) as reader:
            assert [one.frame_index async for one in reader] == [3]
    ok = FrameStatus.OK
    assert rows == [
        (ok, ((30, 40, 3), 50)),
        (ok, ((90, 20, 3), 60)),
        (FrameStatus.CORRUPT, None),
        (ok, ((30, 40, 3), 80)),
        (FrameStatus.MISSING, None),
        (ok, ((30, 40, 3), 90)),
    ]


def test_a_list_without_a_readable_picture_is_refused(tmp_path: Path) -> None:
    noise = tmp_path / "noise.png"
    noise.write_bytes(b"nothing")
    with pytest.raises(InvalidVideo, match=r"none of 1 pictures.*noise\.png"):
        PictureReader([noise])
    with pytest.raises(InvalidVideo, match="name at least one"):
        PictureList(tmp_path, ())

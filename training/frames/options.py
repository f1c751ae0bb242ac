"""Reads what people write on the command line about frames: lists of them, and crops."""

from service.errors import InvalidRequest
from training.data.deeplabcut_config import CropXywh


def parse_frames(text: str) -> tuple[int, ...]:
    """Read frame indices: `10,250`; `100-120` is a range with both ends.

    Raises:
        InvalidRequest: it is no such list.
    """
    found: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdecimal() for end in ends):
            raise InvalidRequest(
                f"{part.strip()!r} in {text!r} is no frame index; write indices from 0 and ranges "
                "such as 10,250,300-310"
            )
        found += range(int(ends[0]), int(ends[-1]) + 1)
    return tuple(sorted(set(found)))


def parse_crop(text: str) -> CropXywh:
    """Read a part of the frame: `X,Y,W,H` in whole px.

    Raises:
        InvalidRequest: it is no such part.
    """
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidRequest(f"the crop {text!r} is not X,Y,W,H in whole px, such as 100,0,640,480")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height

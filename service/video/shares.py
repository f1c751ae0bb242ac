"""Shares a long file out among decode workers: each decodes every n-th stretch of it.

The pictures of small videos gain little from a decoder's own threads; several decoders on different
key frames gain all that the cores have. A worker holds a whole stretch back, so that the others
decode ahead while the server reads one.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.video.packets import RESET, PacketIndex
from service.video.pyav import PictureRow, VideoFile
from service.video.stretches import plan_stretches, refuse_index

# Opening a file at a stretch costs some 10 ms where it is hours long; this many frames cost more.
_LEAST_FRAMES = 250


def share_limits(
    index: PacketIndex, first_frame: int, end: int, least_frames: int = _LEAST_FRAMES
) -> NDArray[np.int64]:
    """Return the limits of the stretches that are shared out, (S + 1,) rising frame numbers.

    Args:
        index: of the file.
        first_frame: of those that are wanted.
        end: after the last one; may lie behind the frames that the file holds.
        least_frames: of a stretch.

    Returns:
        From `first_frame` to `end`. Only these two where the file must be read in one go.
    """
    limits = [first_frame, end]
    if not refuse_index(index):
        limits[1:1] = [
            one.first
            for one in plan_stretches(index, least_frames)
            if first_frame < one.first < end and index.flags[index.shown[one.first]] & RESET
        ]
    return np.array(limits, np.int64)


def rows_of_share(
    file: VideoFile, limits: NDArray[np.int64], share: int, shares: int
) -> Iterator[PictureRow]:
    """Yield the rows of every `shares`-th stretch from number `share` on, in order.

    Where a key frame turns out to be none that a decoder can begin at, the rest is decoded in one
    go from the file's begin on, and the rows of the other shares are left out.
    """
    for first, end in list(pairwise(limits.tolist()))[share::shares]:
        if not file.can_seek:
            for row in file.rows(first):
                stretch = int(np.searchsorted(limits, row.frame_index, "right")) - 1
                if row.frame_index >= limits[-1]:
                    return
                if stretch % shares == share:
                    yield row
            return
        yield from file.rows(first, end - first, is_closed=end < limits[-1])

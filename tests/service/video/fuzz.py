"""Files with flipped bits, and what was still to be trusted in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from service.values import FrameStatus
from tests.service.video.reading import SeenFrame

_MAX_FLIPS = 8


@dataclass(frozen=True, slots=True)
class Packets:
    """Where the frames of a whole file lie."""

    begin: tuple[int, ...]
    """First byte of the packet of each frame, in presentation order."""
    end: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """OK frames of one damaged file; `early` are stored and shown before all that is damaged."""

    early: int
    early_wrong: int
    late: int
    late_unreadable: int
    """They show no number: a damaged picture that was taken for a whole one."""
    late_wrong: int
    """They show the number of another frame."""


def find_packets(path: Path) -> Packets:
    """Return the places of the packets of a file."""
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(video=0) if one.size]
        packets.sort(key=lambda one: one.dts if one.pts is None else one.pts)
        return Packets(
            tuple(one.pos for one in packets), tuple(one.pos + one.size for one in packets)
        )


def flip_bits(data: bytes, packets: Packets, seed: int) -> tuple[bytes, int]:
    """Flip one to eight bits anywhere; return the file and the first byte that cannot be trusted.

    That is 0 where a byte outside of all packets is hit: it may describe any of them.
    """
    random = np.random.default_rng(seed)
    changed = bytearray(data)
    places = random.integers(len(data), size=random.integers(1, _MAX_FLIPS, endpoint=True))
    for place in places:
        changed[place] ^= 1 << int(random.integers(8))
    spans = list(zip(packets.begin, packets.end, strict=True))
    is_inside = all(any(begin <= place < end for begin, end in spans) for place in places)
    return bytes(changed), int(places.min()) if is_inside else 0


def judge(seen: Sequence[SeenFrame], packets: Packets, first_damage: int) -> Verdict:
    """Count the frames that are said to be OK and show something else than their own number."""
    early = early_wrong = late = late_unreadable = late_wrong = 0
    reached = next(
        (index for index, end in enumerate(packets.end) if end > first_damage), len(packets.end)
    )
    for one in seen:
        if one.status is not FrameStatus.OK:
            continue
        is_wrong = one.number != one.frame_index
        if one.frame_index < reached:
            early += 1
            early_wrong += is_wrong
        else:
            late += 1
            late_unreadable += is_wrong and one.number is None
            late_wrong += is_wrong and one.number is not None
    return Verdict(early, early_wrong, late, late_unreadable, late_wrong)

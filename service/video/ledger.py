"""Puts pictures back under the packets they came from, and tells which packets gave none."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np

from service.video.packets import PacketIndex

Picture = TypeVar("Picture")


class Ledger(Protocol[Picture]):
    """Every shown packet comes out exactly once, in presentation order."""

    def add(self, position: int, picture: Picture) -> None:
        """Take a picture that came from the packet at a file position."""
        ...

    def refuse(self, position: int) -> None:
        """Take the news that the packet at a file position gives no picture."""
        ...

    def settle(self, fed: int) -> Iterator[tuple[int, Picture | None]]:
        """Yield (position, picture or None) of all rows that are sure.

        Args:
            fed: file position up to which a picture that is not here yet will never come.
        """
        ...


class TimeLedger(Generic[Picture]):
    """For files whose packets carry their presentation times."""

    def __init__(self, index: PacketIndex, first_rank: int) -> None:
        self._shown = index.shown
        self._ranks = index.ranks
        self._next = first_rank
        self._pictures: dict[int, Picture] = {}
        self._refused: set[int] = set()

    def add(self, position: int, picture: Picture) -> None:
        """See `Ledger`."""
        if self._ranks[position] >= self._next:
            self._pictures[position] = picture

    def refuse(self, position: int) -> None:
        """See `Ledger`."""
        self._refused.add(position)

    def settle(self, fed: int) -> Iterator[tuple[int, Picture | None]]:
        """See `Ledger`."""
        while self._next < len(self._shown):
            position = int(self._shown[self._next])
            known = position in self._pictures or position in self._refused
            if not known and position >= fed:
                return
            self._next += 1
            self._refused.discard(position)
            yield position, self._pictures.pop(position, None)


class DecoderLedger(Generic[Picture]):
    """For files without usable times: the order in which the decoder gives pictures is taken.

    A packet that gave no picture stands before the first picture of a later packet, which is its
    place up to the codec's reordering.
    """

    def __init__(self, index: PacketIndex) -> None:
        self._is_shown = index.ranks >= 0
        self._low = 0  # all positions below are settled
        self._pictures: list[tuple[int, Picture]] = []
        self._here: set[int] = set()
        self._lost: list[int] = []

    def add(self, position: int, picture: Picture) -> None:
        """See `Ledger`."""
        if self._is_shown[position] and position >= self._low:
            self._pictures.append((position, picture))
            self._here.add(position)

    def refuse(self, position: int) -> None:
        """See `Ledger`; nothing to do, the packet is given up when the decoder is past it."""

    def settle(self, fed: int) -> Iterator[tuple[int, Picture | None]]:
        """See `Ledger`."""
        while self._low < len(self._is_shown):
            if self._low in self._here:
                self._here.remove(self._low)
            elif not self._is_shown[self._low]:
                pass
            elif self._low < fed:
                self._lost.append(self._low)
            else:
                break
            self._low += 1
        while self._pictures and self._pictures[0][0] < self._low:
            position, picture = self._pictures.pop(0)
            while self._lost and self._lost[0] < position:
                yield self._lost.pop(0), None
            yield position, picture
        if fed >= len(self._is_shown):
            while self._lost:
                yield self._lost.pop(0), None


def create_ledger(index: PacketIndex, first_rank: int) -> "Ledger[Picture]":
    """Return the ledger for a file's index, from the row `first_rank` on (0 without times)."""
    if index.by_time:
        return TimeLedger[Picture](index, first_rank)
    assert first_rank == 0, "without times every reading starts at the first packet"
    return DecoderLedger[Picture](index)


def find_start(index: PacketIndex, first_rank: int) -> int:
    """Return the file position from which decoding gives row `first_rank` and all after it exactly.

    This is one key frame more than needed: after a key frame of an open group of pictures or of
    an intra refresh, the first pictures are not exact yet.
    """
    if not index.by_time or first_rank == 0 or first_rank >= len(index.shown):
        return 0
    needed = int(index.shown[first_rank:].min())
    keys = np.flatnonzero(index.flags[: needed + 1] & 1)
    return int(keys[-2]) if len(keys) >= 2 else 0

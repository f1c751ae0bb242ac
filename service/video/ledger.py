"""Puts pictures back under the packets they came from, and tells which rows cannot be trusted.

A decoder conceals: after a damaged frame it goes on with pictures that show parts of others, and
calls them whole. So a picture counts only if it and all that it may refer to are whole.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.video.packets import DISPOSABLE, EMPTY, KEY, NOT_CODED, REFRESH, RESET, PacketIndex

Picture = TypeVar("Picture")
Picture_co = TypeVar("Picture_co", covariant=True)

# Damage ends at the next key frame. Streams that refresh a picture piece by piece have none: in
# theirs it ends after this many packets, more than any usual distance of key frames.
_MAX_SUSPECT = 300


@dataclass(frozen=True, slots=True)
class Settled(Generic[Picture_co]):
    """A row that nothing can change any more."""

    position: int
    """Of its packet in the file."""
    picture: Picture_co | None
    """None where none came."""
    is_suspect: bool
    """It is damaged, or may refer to a frame that is."""


class Ledger(Protocol[Picture]):
    """Every shown packet comes out exactly once, in presentation order."""

    def add(self, position: int, picture: Picture, *, is_damaged: bool) -> None:
        """Take a picture that came from the packet at a file position."""
        ...

    def refuse(self, position: int) -> None:
        """Take the news that the packet at a file position gives no picture."""
        ...

    def settle(self, fed: int) -> Iterator[Settled[Picture]]:
        """Yield the rows that are sure.

        Args:
            fed: file position below which a picture that is not here yet will never come.
        """
        ...


class _Judge:
    """Follows the packets in file order, in which they refer to each other."""

    def __init__(self, index: PacketIndex, ranks: NDArray[np.int32], start: int) -> None:
        self._flags = index.flags
        self._ranks = ranks
        self._arrived: dict[int, bool] = {}
        self._refused: set[int] = set()
        self._suspects: set[int] = set()
        # Pictures before the first key frame refer to what was cut off, and decoders show gray; a
        # container that marks no key frame (SWF) says nothing.
        is_key = index.flags & KEY != 0
        is_cut = is_key.any() and not is_key[start]
        self._damage_ends = start + _MAX_SUSPECT if is_cut else 0
        self._key_rank = -1
        self._last_key_rank = -1
        self.low = start
        """All positions below are judged."""

    def add(self, position: int, is_damaged: bool) -> None:
        """Take the news of a picture."""
        if position >= self.low:
            self._arrived[position] = is_damaged

    def refuse(self, position: int) -> None:
        """Take the news that no picture comes."""
        self._refused.add(position)

    def advance(self, fed: int) -> None:
        """Judge all positions of which everything is known."""
        while self.low < len(self._flags):
            flags = self._flags.item(self.low)
            if self.low in self._arrived:
                is_damaged = self._arrived.pop(self.low)
            elif self.low in self._refused:
                is_damaged = not flags & EMPTY
                self._refused.discard(self.low)
            elif self._ranks.item(self.low) < 0:
                is_damaged = False
            elif self.low < fed:
                is_damaged = not flags & NOT_CODED
            else:
                return
            self._judge(self.low, flags, is_damaged)
            self.low += 1

    def take_suspect(self, position: int) -> bool:
        """Return whether a judged position is suspect; asked once."""
        if position in self._suspects:
            self._suspects.remove(position)
            return True
        return False

    def _judge(self, position: int, flags: int, is_damaged: bool) -> None:
        if flags & KEY:
            # Pictures shown before a key frame and stored after it may refer to those before it.
            was_damaged = position < self._damage_ends
            self._last_key_rank = self._ranks.item(position)
            self._key_rank = self._last_key_rank if was_damaged else -1
            self._damage_ends = 0
        rank = self._ranks.item(position)
        follows_damage = position < self._damage_ends or 0 <= rank < self._key_rank
        if rank >= 0 and (is_damaged or follows_damage):
            self._suspects.add(position)
        if is_damaged and not flags & DISPOSABLE:
            if 0 <= rank < self._last_key_rank:
                self._key_rank = self._last_key_rank  # none that is shown after it refers to it
            else:
                self._damage_ends = position + _MAX_SUSPECT


class TimeLedger(Generic[Picture]):
    """For files whose packets carry their presentation times."""

    def __init__(self, index: PacketIndex, first_rank: int, start: int) -> None:
        self._shown = index.shown
        self._ranks = index.ranks  # 4 bytes a packet, held once
        self._next = first_rank
        self._pictures: dict[int, Picture] = {}
        self._judge = _Judge(index, self._ranks, start)

    def add(self, position: int, picture: Picture, *, is_damaged: bool) -> None:
        """See `Ledger`."""
        self._judge.add(position, is_damaged)
        if self._ranks.item(position) >= self._next:
            self._pictures[position] = picture

    def refuse(self, position: int) -> None:
        """See `Ledger`."""
        self._judge.refuse(position)

    def settle(self, fed: int) -> Iterator[Settled[Picture]]:
        """See `Ledger`."""
        self._judge.advance(fed)
        while self._next < len(self._shown):
            position = self._shown.item(self._next)
            if position >= self._judge.low:
                return
            self._next += 1
            suspect = self._judge.take_suspect(position)
            yield Settled(position, self._pictures.pop(position, None), suspect)


class DecoderLedger(Generic[Picture]):
    """For files without usable times: the order in which the decoder gives pictures is taken.

    A packet that gave no picture stands before the first picture of a later packet, which is its
    place up to the codec's reordering.
    """

    def __init__(self, index: PacketIndex) -> None:
        ranks = index.ranks
        self._is_shown = ranks >= 0
        self._judge = _Judge(index, ranks, 0)
        self._listed = 0  # positions below are among the pictures, given out or lost
        self._pictures: deque[tuple[int, Picture]] = deque()
        self._here: set[int] = set()
        self._lost: deque[int] = deque()

    def add(self, position: int, picture: Picture, *, is_damaged: bool) -> None:
        """See `Ledger`."""
        self._judge.add(position, is_damaged)
        if self._is_shown.item(position) and position >= self._listed:
            self._pictures.append((position, picture))
            self._here.add(position)

    def refuse(self, position: int) -> None:
        """See `Ledger`."""
        self._judge.refuse(position)

    def settle(self, fed: int) -> Iterator[Settled[Picture]]:
        """See `Ledger`."""
        self._judge.advance(fed)
        for position in range(self._listed, self._judge.low):
            if position in self._here:
                self._here.remove(position)
            elif self._is_shown.item(position):
                self._lost.append(position)
        self._listed = self._judge.low
        while self._pictures and self._pictures[0][0] < self._listed:
            position, picture = self._pictures.popleft()
            yield from self._settle_lost(position)
            yield Settled(position, picture, self._judge.take_suspect(position))
        if self._listed >= len(self._is_shown):
            yield from self._settle_lost(len(self._is_shown))

    def _settle_lost(self, end: int) -> Iterator[Settled[Picture]]:
        while self._lost and self._lost[0] < end:
            position = self._lost.popleft()
            yield Settled(position, None, self._judge.take_suspect(position))


def create_ledger(index: PacketIndex, first_rank: int, start: int) -> "Ledger[Picture]":
    """Return the ledger for rows from `first_rank` on, decoded from file position `start` on."""
    if index.by_time:
        return TimeLedger[Picture](index, first_rank, start)
    assert first_rank == start == 0, "without times every reading starts at the first packet"
    return DecoderLedger[Picture](index)


def find_start(index: PacketIndex, first_rank: int) -> int:
    """Return the file position from which decoding gives row `first_rank` and all after it exactly.

    After a key frame of an open group of pictures, the first pictures are not exact yet: there, it
    is one key frame more than needed. After that of an intra refresh, it is not known which are.
    """
    if not (index.by_time and index.can_seek) or first_rank == 0 or first_rank >= len(index.shown):
        return 0
    needed = int(index.shown[first_rank:].min())
    keys = np.flatnonzero(index.flags[: needed + 1] & (KEY | REFRESH) == KEY)
    if len(keys):
        key, first = keys.item(-1), index.shown.item(first_rank)
        if index.flags.item(key) & RESET and index.pts.item(key) <= index.pts.item(first):
            return key
    return keys.item(-2) if len(keys) >= 2 else 0

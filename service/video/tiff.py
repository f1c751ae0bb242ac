"""Counts the pictures of a TIFF file."""

from typing import Literal

_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
# Bytes of an address, of the number of a page's entries and of an entry, by version of the format.
_SIZES = {42: (4, 2, 12), 43: (8, 8, 20)}
# NewSubfileType, and its bits of a smaller copy and of a mask.
_KIND, _NO_PICTURE = 254, 0b101


def count_pages(data: bytes) -> int:
    """Return how many pictures a TIFF file holds, previews left out; 0 for another file."""
    order = _ORDERS.get(data[:2])
    if order is None:
        return 0

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    version = number(2, 2)
    if version not in _SIZES:
        return 0
    address_bytes, count_bytes, entry_bytes = _SIZES[version]
    page, pages, passed = number(address_bytes, address_bytes), 0, set[int]()
    while page and page not in passed:
        passed.add(page)
        begin = page + count_bytes
        end = begin + number(page, count_bytes) * entry_bytes
        if end > len(data):
            break
        values = (
            number(entry + 4 + address_bytes, 4)
            for entry in range(begin, end, entry_bytes)
            if number(entry, 2) == _KIND
        )
        pages += not next(values, 0) & _NO_PICTURE
        page = number(end, address_bytes)
    return pages

"""Reads the numbers that headers of H.264 are made of, bit by bit."""


class BitReader:
    """Goes through bits from the first to the last; behind the last, all are 0."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first bit of `data`."""
        self._bits = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""
        self._place = 0

    def read(self, bits: int = 1) -> int:
        """Return a number of so many bits, the highest first."""
        begin, self._place = self._place, self._place + bits
        return int(self._bits[begin : self._place].ljust(bits, "0"), 2) if bits else 0

    def read_golomb(self) -> int:
        """Return a number in Exp-Golomb code, unsigned (ITU-T H.264, 9.1)."""
        one = self._bits.find("1", self._place)
        if one < 0:
            self._place = len(self._bits)
            return 0
        zeros, self._place = one - self._place, one
        return self.read(zeros + 1) - 1

    def read_signed_golomb(self) -> int:
        """Return a number in Exp-Golomb code with a sign (ITU-T H.264, 9.1.1)."""
        number = self.read_golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)

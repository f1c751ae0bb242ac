"""How long to wait before connecting again."""

import random
from collections.abc import Callable


class Backoff:
    """Doubles the wait with each try, with jitter so that rigs do not come back all at once.

    Args:
        first_seconds: Middle of the first wait.
        longest_seconds: Middle of the longest wait.
        uniform: Gives numbers in [0, 1).
    """

    def __init__(
        self,
        first_seconds: float = 0.1,
        longest_seconds: float = 5.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._uniform = uniform
        self._tries = 0

    def next_seconds(self) -> float:
        """The next wait: between half and one and a half times its middle."""
        # 30: the limit is long reached by then, and 2.0 ** 1024 would overflow.
        middle = min(self._longest_seconds, self._first_seconds * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return middle * (0.5 + self._uniform())

    def reset(self) -> None:
        """Begin anew, because the connection works."""
        self._tries = 0

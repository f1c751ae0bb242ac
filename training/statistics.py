"""Statistics that figures of all tasks are told with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def standard_error(values: NDArray[np.float64] | Sequence[float]) -> float | None:
    """Standard error of the mean, from the sample standard deviation; None below two values."""
    several = np.asarray(values, np.float64)
    if several.size < 2:
        return None
    return float(several.std(ddof=1) / np.sqrt(several.size))

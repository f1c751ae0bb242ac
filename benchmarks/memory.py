"""Resident memory of a process over time, and whether it grows."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil


@dataclass(slots=True)
class MemorySamples:
    """Resident memory, sampled at an even pace."""

    time_s: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)

    def growth(self) -> float:
        """Median of the last fifth of the samples over that of the first fifth, minus 1."""
        return growth(self.bytes)

    def slope_mib_per_hour(self) -> float:
        """Slope of the straight line with the least squares of distances."""
        return slope(self.time_s, self.bytes) * 3600 / (1 << 20)


def growth(values: Sequence[float]) -> float:
    """Median of the last fifth of `values` over that of the first fifth, minus 1; NaN for none."""
    if not values:
        return float("nan")
    fifth = max(1, len(values) // 5)
    return statistics.median(values[-fifth:]) / statistics.median(values[:fifth]) - 1


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of the straight line through points by least squares; NaN for fewer than two."""
    if len(x) < 2:
        return float("nan")
    centered = np.asarray(x, float) - np.mean(x)
    return float(centered @ np.asarray(y, float) / (centered @ centered))


@contextlib.asynccontextmanager
async def sampled_memory(
    pid: int, into: MemorySamples, *, every_s: float = 0.25
) -> AsyncIterator[None]:
    """Sample the process while the block runs."""
    process = psutil.Process(pid)

    async def sample() -> None:
        while True:
            into.time_s.append(time.perf_counter())
            into.bytes.append(process.memory_info().rss)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

"""Whether memory grows is told from samples over time."""

import asyncio
import math
import os

import pytest

from benchmarks.memory import MemorySamples, growth, sampled_memory, slope


def test_growth_compares_the_last_fifth_with_the_first():
    assert growth([100] * 10) == 0
    assert growth([100, 100, 500, 500, 500, 500, 500, 500, 110, 110]) == pytest.approx(0.1)
    assert growth([50]) == 0
    assert math.isnan(growth([]))


def test_slope_is_that_of_the_line_through_the_points():
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert slope([10, 20, 30], [4, 4, 4]) == 0
    assert math.isnan(slope([1], [1]))


def test_the_slope_of_memory_is_told_by_the_hour():
    samples = MemorySamples([0.0, 1800.0, 3600.0], [1 << 20, 2 << 20, 3 << 20])
    assert samples.slope_mib_per_hour() == pytest.approx(2)
    assert samples.growth() == pytest.approx(2)


async def test_a_process_is_sampled_while_the_block_runs():
    samples = MemorySamples()
    async with sampled_memory(os.getpid(), samples, every_s=0.001):
        await asyncio.sleep(0.05)
    assert len(samples.time_s) == len(samples.bytes) > 0
    assert all(one > 1 << 20 for one in samples.bytes)

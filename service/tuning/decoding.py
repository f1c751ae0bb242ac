"""Frames a second that are decoded and resized, with one, two and more videos at once."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from service.bundle import InputSpec
from service.simulation import SimulationSettings, simulate, write_recording
from service.tuning.choice import DecodeTiming
from service.video import DecodeWorkers


def make_recording(folder: Path, settings: SimulationSettings) -> Path:
    """Write a simulated recording in H.264 and return the file."""
    return write_recording(simulate(settings), folder, name="tune").video


async def measure_decoding(
    video: Path, inputs: Sequence[InputSpec], *, seconds: float, workers: Sequence[int] = ()
) -> AsyncIterator[DecodeTiming]:
    """Time decoding with each number of videos at once.

    Args:
        video: a recording; it is read again and again.
        inputs: what the bundles take, made by the decode workers.
        seconds: time of each measurement.
        workers: numbers to try; by default 1, 2, 4 and so on up to the processors.
    """
    for count in workers or _counts():
        yield DecodeTiming(count, await _frames_per_s(video, tuple(inputs), count, seconds))


async def _frames_per_s(
    video: Path, inputs: tuple[InputSpec, ...], count: int, seconds: float
) -> float:
    frames = 0
    is_over = False

    async def decode(workers: DecodeWorkers, begun: asyncio.Barrier) -> None:
        nonlocal frames
        waits = True
        while not is_over:
            async with workers.open(video, color=None, inputs=inputs) as reader:
                async for _ in reader:
                    if waits:  # for all processes, whose start does not count
                        await begun.wait()
                        waits = False
                    frames += 1
                    if is_over:
                        break

    async with DecodeWorkers(count) as workers:
        begun = asyncio.Barrier(count + 1)
        tasks = [asyncio.create_task(decode(workers, begun)) for _ in range(count)]
        try:
            ready = asyncio.create_task(begun.wait())
            done, _ = await asyncio.wait((ready, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a decoder that failed says so here
            before, began = frames, time.perf_counter()
            await asyncio.sleep(seconds)
            rate = (frames - before) / (time.perf_counter() - began)
            is_over = True
            await asyncio.gather(*tasks)
        finally:
            for task in (ready, *tasks):
                task.cancel()
            await asyncio.gather(ready, *tasks, return_exceptions=True)
    return rate


def _counts() -> tuple[int, ...]:
    cores = os.cpu_count() or 1
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return tuple(counts)

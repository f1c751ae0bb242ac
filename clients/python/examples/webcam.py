"""Follows an animal in front of a camera: `python webcam.py [ADDRESS] [BUNDLE] [CAMERA]`.

Needs PyAV: `pip install 'ethostream[video]'`.
"""

# ruff: noqa: T201

import asyncio
import sys
from collections.abc import Iterator

from ethostream import AsyncClient, AsyncLiveStream, FrameOutcome
from ethostream.sources import SourceFrame, open_source


async def show(stream: AsyncLiveStream) -> None:
    """Print where each animal's keypoints are, and how long it took to know."""
    keypoints = stream.bundles[0].pose.keypoints if stream.bundles[0].pose else ()
    async for answer in stream:
        if not isinstance(answer, FrameOutcome) or answer.kind != "result":
            continue
        for animal in answer.poses[0].keypoints_xy:
            named = zip(keypoints, animal, strict=True)
            where = ", ".join(f"{k} ({x:.0f}, {y:.0f})" for k, (x, y) in named)
            print(f"frame {answer.frame_index}: {where}, {answer.round_trip_ns / 1e6:.1f} ms")


async def follow(address: str, bundle: str, camera: str) -> None:
    """Send the newest frame whenever the server has room for it."""
    frames: Iterator[SourceFrame] = iter(open_source(camera))
    async with (
        AsyncClient(address) as client,
        client.stream(bundle, freshness="latest", camera="webcam") as stream,
    ):
        reader = asyncio.create_task(show(stream))
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            await stream.send(frame.image, capture_time_ns=frame.capture_time_ns)
        print(await stream.finish())
        await reader


if __name__ == "__main__":
    defaults = ["127.0.0.1:50051", "openfield-mouse", "0"]
    given = sys.argv[1:]
    asyncio.run(follow(*given, *defaults[len(given) :]))

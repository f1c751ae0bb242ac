"""Says before a long job what a video holds: by its container, by its packets, by its decoder."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.values import FrameFault, FrameStatus
from service.video.workers import DecodeWorkers
from service.video_tools.facts import ContainerFacts, PacketFacts, read_facts


@dataclass(frozen=True, slots=True)
class DecodeFacts:
    """What an archive job gets from the file."""

    decoder: str
    ok: int
    repeated: int
    corrupt: int
    missing: int
    faults: tuple[FrameFault, ...]
    """The first 100 frames without pixels, with the reason."""

    @property
    def frames(self) -> int:
        """Rows that a job writes."""
        return self.ok + self.repeated + self.corrupt + self.missing


@dataclass(frozen=True, slots=True)
class VideoTruth:
    """Three accounts of one video; where they differ, `notes` says what it means."""

    container: ContainerFacts
    packets: PacketFacts
    decoded: DecodeFacts

    @property
    def is_complete(self) -> bool:
        """Whether an archive job would have pixels for every frame that was recorded."""
        has_all = not (self.decoded.corrupt or self.decoded.missing)
        return has_all and not self.packets.is_cut_off

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known before results are lined up with other data."""
        container, packets = self.container, self.packets
        shortest_ms, longest_ms = packets.shortest_step_ns / 1e6, packets.longest_step_ns / 1e6
        said = (
            (
                packets.is_cut_off,
                f"the file is cut off: the container claims {container.duration_s:.6g} s, its "
                f"frames take {packets.duration_ns / 1e9:.6g} s",
            ),
            (
                container.frames not in (0, packets.frames, packets.packets),
                f"the container claims {container.frames} frames and holds {packets.frames}",
            ),
            (
                container.frame_rate_hz
                and abs(packets.frame_rate_hz / container.frame_rate_hz - 1) > 0.01,
                f"the container claims {container.frame_rate_hz:.6g} Hz, frames come at "
                f"{packets.frame_rate_hz:.6g} Hz",
            ),
            (packets.cut, f"an edit list hides {_counted(packets.cut, 'packet')}: no frames"),
            (not packets.has_times, "frames have no times; they are counted at the frame rate"),
            (
                packets.is_variable_rate,
                f"variable frame rate: {shortest_ms:.6g} to {longest_ms:.6g} ms between frames",
            ),
            (
                packets.gaps and not packets.is_variable_rate,
                f"{_counted(packets.gaps, 'gap')} in the times, up to {longest_ms:.6g} ms where "
                f"{packets.usual_step_ns / 1e6:.6g} ms is usual: about "
                f"{_counted(packets.frames_in_gaps, 'frame')} not recorded",
            ),
            (
                packets.equal_times,
                f"{_counted(packets.equal_times, 'frame')} at the time of the frame before: the "
                "container's clock is too coarse, or times were repeated",
            ),
            (
                self.decoded.repeated,
                f"{_counted(self.decoded.repeated, 'frame')} not recorded: the one before is "
                "shown again",
            ),
            (
                container.rotation_deg,
                f"turned by {container.rotation_deg} degrees counterclockwise, as the container "
                "asks",
            ),
            (
                container.sample_aspect != "1:1",
                f"px are {container.sample_aspect} wide to high; results are in stored px",
            ),
            (container.is_interlaced, "interlaced: each picture shows two moments"),
        )
        return tuple(text for is_so, text in said if is_so)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


async def verify_video(
    video: Path,
    workers: DecodeWorkers,
    *,
    on_frame: Callable[[int, int], None] | None = None,
) -> VideoTruth:
    """Decode every frame of a video as an archive job does.

    Args:
        video: the file.
        workers: whose processes decode it.
        on_frame: called with the number of frames read so far and that of all.

    Raises:
        VideoNotFound: there is no such file.
        InvalidVideo: no frame of it can be decoded.
        FrameTooLarge: its pictures are over the limits.
        DecoderFailed: its decoder crashed or hung on it.
    """
    counts = Counter[FrameStatus]()
    async with workers.open(video, color="gray") as reader:
        # In this order: a file that makes the demuxer crash has made a worker crash before.
        container, packets = await asyncio.to_thread(read_facts, video)
        async for frame in reader:
            counts[frame.status] += 1
            if on_frame is not None:
                on_frame(counts.total(), packets.frames + packets.missing)
        decoded = DecodeFacts(
            decoder=reader.info.decoder,
            ok=counts[FrameStatus.OK],
            repeated=counts[FrameStatus.REPEATED],
            corrupt=counts[FrameStatus.CORRUPT],
            missing=counts[FrameStatus.MISSING],
            faults=reader.faults,
        )
    return VideoTruth(container, packets, decoded)

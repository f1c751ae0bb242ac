"""Damages videos where the container does not show it."""

from pathlib import Path

import av
import numpy as np


def damage_packet(source: Path, target: Path, number: int) -> Path:
    """Copy a video with noise in the later half of one packet, counted in file order."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [bytes(one) for one in container.demux(video=0)][number]
    size = len(packet) // 2
    begin = data.index(packet) + len(packet) - size
    data[begin : begin + size] = np.random.default_rng(1).integers(0, 256, size, np.uint8).tobytes()
    target.write_bytes(data)
    return target

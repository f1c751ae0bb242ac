"""Streams made frames with the Python client and prints the answers, one line of JSON each.

What another client gives for the same frames must be equal: `python -m
clients.testdata.stream_frames ADDRESS --bundle NAME ... --frames N --size WIDTH HEIGHT`. Frame n is
gray, and its pixel at x, y has the level (3 x + 5 y + 7 n) mod 251.
"""

import argparse
import json
import sys

import numpy as np
from ethostream import BehaviorResult, Client, FrameOutcome
from numpy.typing import NDArray


def made_frame(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """(H, W) gray levels of frame `number`."""
    y, x = np.mgrid[:height_px, :width_px]
    return np.asarray((3 * x + 5 * y + 7 * number) % 251, np.uint8)


def line(answer: FrameOutcome | BehaviorResult) -> str:
    """An answer as other clients print it, too: what does not change from run to run."""
    values: dict[str, object] = {"frame": answer.frame_index}
    if isinstance(answer, BehaviorResult):
        values |= {"bundle": answer.bundle, "status": answer.status.value}
        if answer.probabilities is not None and answer.present is not None:
            values |= {
                "probabilities": answer.probabilities.tolist(),
                "present": answer.present.tolist(),
            }
    else:
        poses = [
            {
                "x_px": pose.keypoints_xy[..., 0].tolist(),
                "y_px": pose.keypoints_xy[..., 1].tolist(),
                "confidence": pose.confidence.tolist(),
            }
            for pose in answer.poses
        ]
        values |= {"kind": answer.kind, "poses": poses}
    return json.dumps(values)


def main() -> int:
    """Stream, then print outcomes and behavior results, each in the order of the frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--bundle", action="append", required=True)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 48), metavar="PX")
    parser.add_argument("--in-flight", type=int, default=0)
    asked = parser.parse_args()
    with (
        Client(asked.address) as client,
        client.stream(asked.bundle, max_frames_in_flight=asked.in_flight) as stream,
    ):
        for number in range(asked.frames):
            stream.send(made_frame(number, *asked.size), capture_time_ns=number)
        stream.finish()
        answers = list(stream)
    for kind in (FrameOutcome, BehaviorResult):
        sys.stdout.writelines(f"{line(one)}\n" for one in answers if isinstance(one, kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())

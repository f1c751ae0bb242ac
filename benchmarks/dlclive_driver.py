"""Times DLC-Live for `benchmarks.peers`: its public class, one frame at a time.

It runs as a program of its own in an environment of its own (benchmarks/README.md), which has none
of this project's packages. It writes the poses of its frames as one line of JSON; then each line
that it reads is a number of seconds, for which it runs and tells the times of its calls in ms.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from dlclive import DLCLive


def main() -> None:
    """Answer until nothing more is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="exported model, .pt")
    parser.add_argument("--frames", type=Path, required=True, help="(T, H, W, 3) uint8 RGB, .npy")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    torch.set_num_threads(arguments.threads)
    # It takes frames in OpenCV's order of colors.
    frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in np.load(arguments.frames)]
    network = DLCLive(str(arguments.model), model_type="pytorch", device="cpu")
    network.init_inference(frames[0])
    poses = [np.asarray(network.get_pose(frame)).tolist() for frame in frames]
    print(json.dumps({"poses": poses}), file=answers, flush=True)
    for line in sys.stdin:
        times_ms = []
        start = now = time.perf_counter()
        for frame in itertools.cycle(frames):
            began = now
            if began >= start + float(line):
                break
            network.get_pose(frame)
            now = time.perf_counter()
            times_ms.append((now - began) * 1e3)
        print(json.dumps({"times_ms": times_ms}), file=answers, flush=True)


if __name__ == "__main__":
    main()

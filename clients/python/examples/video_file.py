"""Uploads a video and prints a table of its keypoints: `python video_file.py VIDEO [ADDRESS]`.

Needs pandas: `pip install 'ethostream[views]'`.
"""

# ruff: noqa: T201

import sys

from ethostream import Client

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    video, address = sys.argv[1], (sys.argv[2:] or ["127.0.0.1:50051"])[0]
    with Client(address) as client:
        analysis = client.analyze(upload=video, bundles="openfield-mouse")
        for chunk in analysis:
            print(f"{chunk.frame_index[-1] + 1} frames", end="\r")
        print(analysis.finished)
        results = client.analyze_all(upload=video, bundles="openfield-mouse", frame_limit=5)
        print(results.to_pandas().T.to_string())

"""The ethostream server: frames in, keypoints, confidences and behavior probabilities out.

Axes, used in every docstring: B batch, H W pixels, C channels (of pixels) or behaviors (of
logits), N animals, K keypoints, T time, F flows of a window, D features, S sequence state.

One frame's way, live (a file enters at `archive` instead of `session`, a request without a session
at `frame_requests`):

==  ====================  ================================================================
1   servicer/             protobuf to `EncodedFrame`, `Outcome` to protobuf
2   session.py            one camera: order, credits, freshness, the ledger
3   video/still.py        JPEG or PNG to pixels (files: video/workers.py, encoded streams:
                          video/chunks.py, each in a process that resizes them, too)
    shared_memory.py      raw pixels where a client on this machine laid them
4   preprocess.py         crop, resize, color; and the way back
5   scheduler.py          inputs of all sessions and videos to batches, live first
6   engine/               a batch through a graph
7   pose.py               keypoints back to px of the frame as sent
8   behavior_stream.py    flow, features, sequence with the camera's own state
    behavior.py           logits to probabilities, present behaviors, bouts
==  ====================  ================================================================

`repository` holds the bundles (format: `bundle`), `runtime` puts 2 to 8 together for the server
(`server`) and for commands that work in-process (`commands/`). `simulation/` makes recordings,
`results/`, `drawing/` and `report/` write what was found.
"""

"""KServe's Open Inference Protocol, for Triton's and KServe's tools as they are.

A model is a loaded bundle: its name and version are the model's. Its tensors are frames in and
answers out, not those of its graphs, so that nobody resizes, normalizes or undoes anything:

pose      frames UINT8 (B, H, W, 1 or 3)   -> keypoints FP32 (B, N, K, 3)
behavior  frames UINT8 (T, H, W, 1 or 3)   -> probabilities FP32 (T, C), present BOOL (T, C),
                                              status UINT8 (T)

Frames are gray or red, green, blue, of any size; the server resizes them as those of a stream, and
x and y of a keypoint are px of the frame as sent. Both are what a bundle's pose model exported for
Triton (`export/triton`) takes and gives where frames have the size of its input: a client of that
is a client of this. Frames of a pose request are independent of one another (B is a batch); those
of a behavior request are one recording at the bundle's own frame rate (T is time, and there is no
batch axis), where frames without enough others around them have NaN, false and a status that is
not OK (numbers of ethostream.v1.BehaviorStatus). State across requests, which Triton knows as
sequences, is not offered: StreamFrames and AnalyzeFrame keep it, in order and without loss.
"""

from service.servicer.open_inference.servicer import OpenInferenceServicer

__all__ = ["OpenInferenceServicer"]

"""Behavior from the keypoints of one animal instead of pixels: features, training, prediction."""

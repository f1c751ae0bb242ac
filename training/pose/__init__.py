"""Pose training: network, loss, evaluation and the command's work."""

"""Behavior training: flow, then features, then the sequence, from labelled recordings to a run."""

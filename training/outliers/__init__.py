"""Frames where a network is likely wrong, for a person to correct; and what each round of it gains.

`methods` and `fitting` flag points, `settings` says how, `videos` finds the video of predictions,
`mine` picks frames and writes them, `machine_labels` writes what the network said of them for
correction, and `rounds` compares the runs that were trained one after the other.
"""

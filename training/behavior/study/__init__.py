"""Studies of behavior: presets on the same splits, and the size of the training set."""

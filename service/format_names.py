"""Names of the formats that results are written in, for settings and command lines; loads nothing.

`service/results/README.md` says what each holds and who reads it.
"""

FORMATS = {
    "parquet": "everything, with its provenance; always written",
    "dlc-h5": "poses for DeepLabCut, <video><scorer>.h5",
    "dlc-csv": "poses for DeepLabCut, <video><scorer>.csv",
    "slp": "poses for SLEAP, <video>.predictions.slp",
    "sleap-h5": "poses as SLEAP's analysis file, <video>.analysis.h5",
    "nwb": "poses, probabilities and bouts as Neurodata Without Borders, <video>.nwb",
    "deg-h5": "probabilities for DeepEthogram, <video>_outputs.h5",
    "behavior-csv": "frame by behavior tables of probabilities and of predictions",
    "bouts": "one row a bout, as BORIS exports them, <video>_bouts.csv",
}
"""Name of each format and what it holds."""

DEFAULT_FORMATS = ("dlc-h5", "dlc-csv", "behavior-csv", "bouts")
"""What is written where nobody names a format: all that needs no extra."""

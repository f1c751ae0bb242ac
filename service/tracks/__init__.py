"""Keypoints over time: what is done with predictions after a video was analyzed.

`read_tracks` reads the predictions of a file into a `Track`, whoever wrote it; `write_tracks`
writes one for us, for DeepLabCut and for what reads its files. Between the two:

filters      the median, spline and Kalman filters; `arima` holds the one that needs statsmodels
kalman       the causal Kalman filter of live use, and its prediction of the pose ahead in time
kinematics   lengths, angles and speeds
embedding    poses of one shape near each other (scikit-learn)
quality      what can be said of a track without labels
"""

from service.tracks.read import read_tracks
from service.tracks.track import Track
from service.tracks.write import write_tracks

__all__ = ["Track", "read_tracks", "write_tracks"]

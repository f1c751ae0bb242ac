"""Recordings with exact ground truth: an open field from above, a home cage from the side.

`simulate` computes the truth of a whole recording, `Recording.render` draws any of its frames,
`write_recording` puts both on disk, `render_random_frame` makes single frames for training.
"""

from service.simulation.examples import RandomFrame, render_random_frame
from service.simulation.files import RecordingFiles, write_recording
from service.simulation.recording import Recording, simulate
from service.simulation.settings import SimulationSettings

__all__ = [
    "RandomFrame",
    "Recording",
    "RecordingFiles",
    "SimulationSettings",
    "render_random_frame",
    "simulate",
    "write_recording",
]

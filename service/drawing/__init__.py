"""Pictures of results: the video with what was found on it, and plots of a whole video.

`overlay` writes the video that `painter` paints frame by frame: `poses` on it and `panel` below it;
`text` and `colors` serve both. `ethogram`, `trajectory` and `traces` are one picture of a whole
video; `figures` is what they have in common.
"""

from service.drawing.ethogram import draw_ethogram
from service.drawing.overlay import draw_overlay
from service.drawing.painter import OverlayOptions, OverlayPainter
from service.drawing.traces import draw_confidence
from service.drawing.trajectory import draw_trajectory

__all__ = [
    "OverlayOptions",
    "OverlayPainter",
    "draw_confidence",
    "draw_ethogram",
    "draw_overlay",
    "draw_trajectory",
]

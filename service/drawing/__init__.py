"""Pictures of results: the video with what was found on it, the ethogram, the trajectory.

`overlay` draws `poses` on every frame and `panel` below it; `text` and `colors` serve both.
`ethogram` and `trajectory` are one picture of a whole video.
"""

from service.drawing.ethogram import draw_ethogram
from service.drawing.overlay import OverlayOptions, draw_overlay
from service.drawing.trajectory import draw_trajectory

__all__ = ["OverlayOptions", "draw_ethogram", "draw_overlay", "draw_trajectory"]

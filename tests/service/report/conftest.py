"""The simulated recording of the drawings, and a reader of pages."""

from tests.service.drawing.conftest import recording, results, truth, video

__all__ = ["recording", "results", "truth", "video"]

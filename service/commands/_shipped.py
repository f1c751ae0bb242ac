"""The bundles that come with a checkout."""

from pathlib import Path

SHIPPED_MODELS = Path(__file__).parents[2] / "deploy" / "models"
SHIPPED_NAMES = ("openfield-mouse", "openfield-activity")
"""Those for a mouse in an open field from above, which `demo` shows."""

"""Checks of the settings of `ethostream serve`."""

import math

from service.errors import InvalidConfig


def check_least(settings: object, section: str, **least: float) -> None:
    """Check that settings are finite and not too small.

    Args:
        settings: of one section.
        section: its name.
        least: smallest value that each may have.

    Raises:
        InvalidConfig: one is smaller, or no number.
    """
    for name, limit in least.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= limit):
            number = "" if math.isfinite(value) else "a finite number of "
            raise InvalidConfig(f"{section}.{name} is {value}; give {number}at least {limit:g}")

"""Numbers as reports write them; what is not defined is a dash."""

import math


def seconds_text(seconds: float) -> str:
    """Seconds with two digits, from 100 s on with one."""
    if math.isnan(seconds):
        return "-"
    return f"{seconds:.1f}" if seconds >= 100 else f"{seconds:.2f}"


def share_text(share: float) -> str:
    """A share in [0, 1] as percent."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def number_text(value: float, digits: int = 1) -> str:
    """A number with so many digits after the point."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def size_text(size_bytes: int) -> str:
    """A size in the unit that fits it."""
    size, units = float(size_bytes), ("bytes", "kB", "MB", "GB", "TB")
    place = 0
    while size >= 1000 and place < len(units) - 1:
        size, place = size / 1000, place + 1
    return f"{size:.0f} {units[place]}" if not place else f"{size:.1f} {units[place]}"


def duration_text(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03.5; without hours where there are none."""
    if math.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"

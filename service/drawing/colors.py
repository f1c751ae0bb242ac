"""Colors of keypoints, behaviors and the panel, one place for videos and plots."""

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

# Neighbors differ in hue and in lightness, and all can be seen on dark and on light ground.
_SERIES: tuple[Color, ...] = (
    (56, 160, 255),  # blue
    (255, 138, 52),  # orange
    (46, 204, 139),  # green
    (235, 82, 155),  # pink
    (250, 204, 50),  # yellow
    (157, 116, 255),  # violet
    (33, 205, 216),  # cyan
    (240, 84, 74),  # red
    (160, 205, 70),  # lime
    (200, 150, 110),  # brown
)

PANEL: Color = (17, 20, 27)
TRACK: Color = (38, 43, 54)
FAINT: Color = (58, 65, 80)
DIM_TEXT: Color = (139, 148, 167)
TEXT: Color = (236, 240, 248)
BACKGROUND_BEHAVIOR: Color = (120, 128, 144)


def series_color(place: int) -> Color:
    """Color number `place`, from 0; they repeat after ten."""
    return _SERIES[place % len(_SERIES)]


def behavior_color(behaviors: tuple[str, ...], place: int) -> Color:
    """Color of a behavior: background is gray, the others take the series."""
    if behaviors[place] == "background":
        return BACKGROUND_BEHAVIOR
    return series_color(place - (behaviors[0] == "background"))


def fraction(color: Color) -> tuple[float, float, float]:
    """Return the color as matplotlib takes it, each part in [0, 1]."""
    red, green, blue = color
    return red / 255, green / 255, blue / 255


def mix(color: Color, other: Color, share: float) -> Color:
    """Mix two colors; `share` in [0, 1] is how much of the first one there is."""
    red, green, blue = (
        round(one * share + two * (1 - share)) for one, two in zip(color, other, strict=True)
    )
    return red, green, blue

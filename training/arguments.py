"""Kinds of arguments that several commands take; cheap to import."""

import argparse


def frame_size(text: str) -> tuple[int, int]:
    """Return width and height in px of text such as 384x288.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    width, _, height = text.lower().partition("x")
    if not width.isdecimal() or not height.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give WIDTHxHEIGHT, as 384x288")
    return int(width), int(height)

"""Which keypoints are the left and right of a pair."""

from collections.abc import Sequence

_WORDS = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
_MARKS = (("_l", "_r"), ("_L", "_R"), ("-l", "-r"), ("-L", "-R"), (".l", ".r"), (".L", ".R"))


def left_right_by_name(keypoints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Find pairs by `left` and `right` in the names, or by a last `_l` and `_r`.

    Args:
        keypoints: names.

    Returns:
        Pairs, the left one first.
    """
    names = set(keypoints)
    pairs = []
    for name in keypoints:
        others = [name.replace(left, right) for left, right in _WORDS if left in name]
        others += [name[:-2] + right for left, right in _MARKS if name.endswith(left)]
        pairs += [(name, other) for other in others if other in names][:1]
    return tuple(pairs)

"""What a client may name is found; all else is refused with a reason, whatever the text."""

from pathlib import Path

import pytest

from service.errors import PathOutsideRoots, VideoNotFound
from service.paths import resolve_below_roots


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "a.mp4").touch()
    (tmp_path / "one" / "circle").symlink_to("circle")
    return [tmp_path / "one", tmp_path / "two"]


def test_a_file_is_found_below_any_root(roots: list[Path]) -> None:
    file = roots[1] / "a.mp4"
    assert resolve_below_roots("a.mp4", roots) == file
    assert resolve_below_roots(str(file), roots) == file
    assert resolve_below_roots("../two/a.mp4", roots[1:]) == file


@pytest.mark.parametrize("text", ["gone.mp4", "", "a" * 300])
def test_what_is_no_file_below_the_roots_is_told(roots: list[Path], text: str) -> None:
    with pytest.raises(VideoNotFound):
        resolve_below_roots(text, roots)


@pytest.mark.parametrize("text", ["../a.mp4", "/etc/passwd", "a\0.mp4"])
def test_what_leads_out_or_nowhere_is_refused(roots: list[Path], text: str) -> None:
    with pytest.raises(PathOutsideRoots):
        resolve_below_roots(text, roots)


def test_a_link_to_itself_is_refused(roots: list[Path]) -> None:
    with pytest.raises((PathOutsideRoots, VideoNotFound)):  # from Python 3.13 on it is a name
        resolve_below_roots("circle", roots[:1])

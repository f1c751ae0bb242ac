"""A server that cannot start says why, and leaves nothing behind."""

from pathlib import Path

import pytest
from ethostream.commands import main


@pytest.mark.parametrize("place", ["port", "gone/port"])
def test_a_server_that_is_refused_leaves_no_part_of_a_port_file(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--listen", "0.0.0.0:0", "--port-file", str(tmp_path / place)]) == 1
    said = capsys.readouterr().err
    assert ("No such file or directory" if "gone" in place else "--insecure") in said
    assert list(tmp_path.iterdir()) == []

"""The file that says who may do what."""

from pathlib import Path

import pytest

from service.errors import InvalidConfig
from service.interceptors import read_tokens


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no token"),
        ("# [rig-1]\n", "holds no token"),
        ('[rig]\ntoken = "short"\nscopes = []\n', "too short"),
        ('[rig]\ntoken = "0123456789abcdef"\nscopes = ["all"]\n', "the scope all"),
        ("[rig", "cannot be read"),
    ],
)
def test_a_token_file_that_would_let_in_the_wrong_is_refused(
    text: str, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=problem):
        read_tokens(path)

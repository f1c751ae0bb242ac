"""What a benchmark prints at its end."""

import json

import pytest

from benchmarks.report import finish


def test_a_figure_that_was_not_measured_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    finish([("ratio", "nan")], {"ratio": float("nan"), "rounds": 2})
    line = json.loads(capsys.readouterr().out.splitlines()[-1], parse_constant=pytest.fail)
    assert (line["ratio"], line["rounds"]) == (None, 2)

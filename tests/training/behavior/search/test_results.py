import csv
import tomllib
from pathlib import Path

import pytest

from service.errors import InvalidConfig
from training.behavior.search.results import (
    TrialResult,
    ranked,
    read_results,
    write_best,
    write_result,
    write_table,
)

GOOD = TrialResult(
    trial=1,
    settings={"features.rate": 1e-05, "color": "gray"},
    ending="whole",
    scores=(0.2, 0.7, 0.6),
)
EARLY = TrialResult(
    trial=0, settings={"features.rate": 0.1, "color": "rgb"}, ending="early", scores=(0.4,)
)
FAILED = TrialResult(
    trial=2,
    settings={"features.rate": 9.0, "color": "rgb"},
    ending="failed",
    scores=(0.9,),
    error="no",
)
TRIALS = [EARLY.settings, GOOD.settings, FAILED.settings]


def test_the_best_epoch_ranks_a_trial_and_failed_ones_come_last() -> None:
    assert ranked([FAILED, EARLY, GOOD]) == [GOOD, EARLY, FAILED]


def test_stored_trials_are_read_again_without_those_that_failed(tmp_path: Path) -> None:
    for one in (GOOD, EARLY, FAILED):
        write_result(tmp_path, one)
    assert read_results(tmp_path, TRIALS) == [EARLY, GOOD]
    assert read_results(tmp_path / "new", TRIALS) == []


def test_a_search_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    write_result(tmp_path, GOOD)
    with pytest.raises(InvalidConfig, match="same ranges and seed"):
        read_results(tmp_path, [{"features.rate": 0.3}, {"features.rate": 0.3}])


def test_the_table_has_a_row_for_each_trial(tmp_path: Path) -> None:
    write_table(tmp_path / "trials.csv", [FAILED, EARLY, GOOD], "macro_f1")
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "0", "2"]
    assert rows[0]["macro_f1"] == "0.7"
    assert rows[0]["best_epoch"] == "1"
    assert rows[0]["features.rate"] == "1e-05"
    assert rows[2]["error"] == "no"


def test_the_best_settings_are_toml_with_tables(tmp_path: Path) -> None:
    write_best(tmp_path / "best.toml", GOOD, "macro_f1")
    text = (tmp_path / "best.toml").read_text()
    assert tomllib.loads(text) == {"features": {"rate": 1e-05}, "color": "gray"}
    assert text.startswith("# trial 1: macro_f1 0.7000 in 3 epochs\n")

import csv
import sys
import tomllib
from pathlib import Path

import pytest

from service.errors import EngineUnavailable, InvalidConfig
from training.behavior.search import search
from training.behavior.search.results import TrialResult, write_result
from training.behavior.search.search import SearchSettings, find_trainable, run_search
from training.behavior.search.space import Range, draw_trials

TRAINABLE = "analytic_training:train"
SPACE = {"x": Range(uniform=(0.0, 1.0))}


@pytest.fixture(autouse=True)
def _trainable_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_a_trainable_that_is_not_there_is_named() -> None:
    assert callable(find_trainable(TRAINABLE))
    for name in ("analytic_training:fit", "no_such_module:train", "train"):
        with pytest.raises(InvalidConfig, match="no module:function"):
            find_trainable(name)


@pytest.mark.parametrize(
    "changes", [{"trials": 0}, {"grace_epochs": 30}, {"reduction": 1}, {"grace_epochs": 0}]
)
def test_a_search_that_cannot_be_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidConfig, match="are no search"):
        SearchSettings(**changes)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "training.behavior.search.ray_trials", None)
    with pytest.raises(EngineUnavailable, match="--extra search"):
        run_search(TRAINABLE, SPACE, SearchSettings(trials=1), tmp_path)


def test_a_finished_search_only_writes_its_tables_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(search, "_ray_trials", None)  # nothing may be started
    settings = SearchSettings(trials=2)
    for trial, drawn in enumerate(draw_trials(SPACE, 2, settings.seed)):
        result = TrialResult(trial=trial, settings=drawn, ending="whole", scores=(0.1 + trial,))
        write_result(tmp_path / "results", result)
    assert [one.trial for one in run_search(TRAINABLE, SPACE, settings, tmp_path)] == [1, 0]
    assert (tmp_path / "trials.csv").is_file()
    assert "x" in tomllib.loads((tmp_path / "best.toml").read_text())


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_ray_finds_the_best_of_the_trials_and_stops_those_that_lag(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="run `uv sync --inexact --extra search`")
    settings = SearchSettings(trials=4, epochs=4, grace_epochs=1, reduction=2, at_once=1, seed=1209)
    drawn = [trial["x"] for trial in draw_trials(SPACE, 4, settings.seed)]
    fixed = {"epochs": 4, "fails_above": sorted(drawn)[-2]}
    found = run_search(TRAINABLE, SPACE, settings, tmp_path, fixed=fixed)
    assert len(found) == 4
    working = [x for x in drawn if x <= fixed["fails_above"]]
    assert found[0].settings["x"] == min(working, key=lambda x: abs(x - 0.3))
    assert found[0].ending == "whole"
    assert len(found[0].scores) == 4
    assert found[-1].ending == "failed"
    assert str(max(drawn)) in found[-1].error
    assert any(one.ending == "early" for one in found)
    with (tmp_path / "trials.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert tomllib.loads((tmp_path / "best.toml").read_text())["x"] == found[0].settings["x"]
    assert len(list(tmp_path.glob("trials/*/settings.txt"))) == 3
    assert not list(tmp_path.rglob("*.ckpt"))

from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidConfig, NotFound
from training.behavior.search.space import Range, draw_trials, merged, nested, read_space

SPACE = {
    "features.learning_rate": Range(log_uniform=(1e-4, 1e-2)),
    "dropout": Range(uniform=(0.1, 0.5)),
    "width": Range(integer=(3, 5)),
    "color": Range(choice=("gray", "rgb")),
}


def test_draws_are_within_their_ranges_and_cover_them() -> None:
    trials = draw_trials(SPACE, 400, seed=1)
    rates = np.array([trial["features.learning_rate"] for trial in trials], float)
    assert 1e-4 <= rates.min() < 1.2e-4
    assert 8e-3 < rates.max() <= 1e-2
    assert np.median(rates) == pytest.approx(1e-3, rel=0.3)  # the middle of the powers of ten
    dropouts = np.array([trial["dropout"] for trial in trials], float)
    assert np.median(dropouts) == pytest.approx(0.3, abs=0.03)
    assert {trial["width"] for trial in trials} == {3, 4, 5}
    assert {trial["color"] for trial in trials} == {"gray", "rgb"}


def test_the_same_seed_draws_the_same_trials_whatever_their_number() -> None:
    assert draw_trials(SPACE, 10, seed=2)[:4] == draw_trials(SPACE, 4, seed=2)
    assert draw_trials(SPACE, 4, seed=2) != draw_trials(SPACE, 4, seed=3)


def test_a_file_of_ranges_may_use_dotted_names_or_tables(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        '"features.learning_rate" = { log_uniform = [1e-4, 1e-2] }\n'
        "dropout = { uniform = [0, 0.5] }\n"
        "[augment]\n"
        "shift = { choice = [0.0, 0.1] }\n"
    )
    space = read_space(path)
    assert space["features.learning_rate"].log_uniform == (1e-4, 1e-2)
    assert space["augment.shift"].choice == (0.0, 0.1)
    assert space["dropout"].uniform == (0.0, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropout = 0.3\n", "not a range"),
        ("dropout = { uniform = [0.5, 0.1] }\n", "lower and an upper"),
        ("dropout = { log_uniform = [0.0, 0.1] }\n", "above 0"),
        ("dropout = { uniform = [0.0, 0.1], choice = [1] }\n", "give one of"),
        ("dropout = { choice = [] }\n", "empty"),
        ("dropout = {\n", "cannot be read"),
    ],
)
def test_a_malformed_range_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=message):
        read_space(path)


def test_a_missing_file_of_ranges_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        read_space(tmp_path / "none.toml")


def test_dotted_names_become_tables_that_change_a_base() -> None:
    changes = nested({"features.learning_rate": 0.1, "dropout": 0.2})
    assert changes == {"features": {"learning_rate": 0.1}, "dropout": 0.2}
    base = {"features": {"learning_rate": 0.5, "epochs": 3}, "dropout": 0.0, "seed": 1}
    assert merged(base, changes) == {
        "features": {"learning_rate": 0.1, "epochs": 3},
        "dropout": 0.2,
        "seed": 1,
    }
    assert base["dropout"] == 0.0


def test_a_table_and_a_value_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="both varied"):
        nested({"features": 1, "features.learning_rate": 0.1})


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="search nothing"):
        draw_trials({}, 3, seed=1)

"""Behavior tables: what stands in them, and in which files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from service.results import AnsweredBundle, VideoResults
from service.results.deepethogram import write_behavior

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


def test_predictions_have_background_first_and_minus_one_without_context(
    results: VideoResults, tmp_path: Path
) -> None:
    write_behavior(results, tmp_path, "cage 4")
    table = read(tmp_path / "cage 4_predictions.csv")
    assert table.columns.tolist() == ["background", "walk", "rear"]
    assert (table.iloc[:5] == -1).all(axis=None)
    assert (table.iloc[7] == -1).all()
    known = np.setdiff1d(np.arange(5, 30), [7])
    walking = np.isin(known, np.arange(10, 16))
    np.testing.assert_array_equal(table.loc[known, "walk"] == 1, walking)
    np.testing.assert_array_equal(table.loc[known, "background"] == 1, ~walking)


def test_probabilities_are_read_back_and_empty_without_context(
    results: VideoResults, tmp_path: Path
) -> None:
    write_behavior(results, tmp_path, "cage 4")
    table = read(tmp_path / "cage 4_probabilities.csv")
    assert table.columns.tolist() == ["walk", "rear"]
    np.testing.assert_array_equal(
        table.to_numpy().astype(np.float32), results.behaviors[0].probabilities
    )


def test_exclusive_behaviors_keep_their_own_background_and_one_a_frame(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_behavior_bundle(exclusive=True))
    write_behavior(results, tmp_path, "cage 4")
    table = read(tmp_path / "cage 4_predictions.csv")
    assert table.columns.tolist() == ["background", "walk", "rear"]
    known = table[(table >= 0).all(axis=1)]
    assert len(known) == 24
    assert (known.sum(axis=1) == 1).all()


def test_several_bundles_write_a_file_each(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_behavior_bundle(), make_behavior_bundle(name="social"))
    write_behavior(results, tmp_path, "cage 4")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cage 4_activity_v1_predictions.csv",
        "cage 4_activity_v1_probabilities.csv",
        "cage 4_social_v1_predictions.csv",
        "cage 4_social_v1_probabilities.csv",
    ]

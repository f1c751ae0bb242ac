"""DeepEthogram's outputs file: what its tools look for, by the names of its fields."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.behavior import probabilities
from service.results import AnsweredBundle, VideoResults, write_results

h5py = pytest.importorskip("h5py", reason="run `uv sync --extra cpu --extra analysis`")

Make = Callable[..., AnsweredBundle]
MakeResults = Callable[..., VideoResults]


def write(results: VideoResults, folder: Path) -> Path:
    path = write_results(results, folder, ["deg-h5"])[1]
    assert path.name == "cage 4_outputs.h5"
    return path


def put_probability(results: VideoResults, row: int, values: list[float]) -> VideoResults:
    found = results.behaviors[0]
    changed = found.probabilities.copy()
    changed[row] = values
    return replace(results, behaviors=(replace(found, probabilities=changed),))


def test_a_group_holds_what_deepethograms_models_write(
    results: VideoResults, tmp_path: Path
) -> None:
    with h5py.File(write(results, tmp_path)) as file:
        assert list(file) == ["activity_v1"]
        group = file["activity_v1"]
        assert group["class_names"].asstr()[:].tolist() == ["background", "walk", "rear"]
        np.testing.assert_array_equal(group["thresholds"][:], np.float32([0.5, 0.5, 0.5]))
        assert {group[name].dtype for name in ("P", "logits", "thresholds")} == {np.dtype("f4")}
        found = group["P"][:]
    np.testing.assert_array_equal(found[:, 1:], results.behaviors[0].probabilities)
    np.testing.assert_array_equal(found[:, 0], 1 - found[:, 1:].max(axis=1))
    assert np.isnan(found[:5]).all()


@pytest.mark.parametrize("exclusive", [False, True])
def test_logits_give_the_probabilities_back(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path, exclusive: bool
) -> None:
    results = make_results(make_behavior_bundle(exclusive=exclusive))
    with h5py.File(write(results, tmp_path)) as file:
        logits, expected = file["activity_v1/logits"][:], file["activity_v1/P"][:]
        assert file["activity_v1/class_names"].asstr()[0] == "background"
    assert expected.shape == (30, 3)
    np.testing.assert_allclose(probabilities(logits, exclusive=exclusive), expected, atol=1e-6)


def test_certain_probabilities_have_finite_logits(results: VideoResults, tmp_path: Path) -> None:
    with h5py.File(write(put_probability(results, 20, [0.0, 1.0]), tmp_path)) as file:
        logits = file["activity_v1/logits"][20]
        assert file["activity_v1/P"][20].tolist() == [0, 0, 1]
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(probabilities(logits, exclusive=False), [0, 0, 1], atol=1e-7)


def test_row_n_is_frame_n_where_the_analysis_begins_later(
    results: VideoResults, tmp_path: Path
) -> None:
    later = replace(results, frame_index=results.frame_index + 40)
    with h5py.File(write(later, tmp_path)) as file:
        found, logits = file["activity_v1/P"][:], file["activity_v1/logits"][:]
    assert found.shape == logits.shape == (70, 3)
    assert np.isnan(found[:45]).all()
    np.testing.assert_array_equal(found[40:, 1:], results.behaviors[0].probabilities)


def test_several_bundles_have_a_group_each(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    results = make_results(make_behavior_bundle(), make_behavior_bundle(name="social"))
    with h5py.File(write(results, tmp_path)) as file:
        assert list(file) == ["activity_v1", "social_v1"]
        np.testing.assert_array_equal(
            file["social_v1/P"][:, 1:], results.behaviors[1].probabilities
        )


def test_what_deepethograms_models_wrote_stays_and_older_results_of_ours_go(
    make_results: MakeResults, make_behavior_bundle: Make, tmp_path: Path
) -> None:
    path = write(make_results(make_behavior_bundle(name="older")), tmp_path)
    with h5py.File(path, "r+") as file:
        file["resnet18/spatial_features"] = np.ones((30, 512), np.float32)
    write(make_results(make_behavior_bundle()), tmp_path)
    with h5py.File(path) as file:
        assert sorted(file) == ["activity_v1", "resnet18"]
        assert file["resnet18/spatial_features"][:].sum() == 30 * 512

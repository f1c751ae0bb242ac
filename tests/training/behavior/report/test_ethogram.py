import numpy as np
import pytest

from service.drawing.colors import behavior_color
from service.errors import InvalidRequest
from training.behavior.report import ethogram
from training.behavior.report.ethogram import MOST_COLUMNS, raster

pytestmark = pytest.mark.needs_train

BEHAVIORS = ("background", "run", "rear")


def test_rows_take_the_color_of_their_behavior_by_how_probable_it_is() -> None:
    values = np.array([[0.0, 1.0, 0.5], [np.nan] * 3])
    found = raster(values, BEHAVIORS)
    assert found.shape == (3, 2, 3)
    run = np.array(behavior_color(BEHAVIORS, 1)) / 255
    np.testing.assert_allclose(found[1, 0], run)
    np.testing.assert_allclose(
        found[2, 0], (np.array(behavior_color(BEHAVIORS, 2)) / 255 + found[0, 0]) / 2
    )
    assert (found[:, 1] < found[0, 0] - 0.05).all()  # unknown is darker than absent
    np.testing.assert_allclose(found[0, 1], found[1, 1])


def test_a_lone_frame_of_a_long_recording_can_still_be_seen() -> None:
    values = np.zeros((50_000, 3))
    values[33_333, 2] = 1.0
    found = raster(values, BEHAVIORS)
    assert found.shape == (3, MOST_COLUMNS, 3)
    marked = np.flatnonzero(np.abs(found[2] - found[2, 0]).max(axis=1) > 1e-6)
    assert marked.tolist() == [33_333 * MOST_COLUMNS // 50_000]


def test_the_picture_stacks_labels_probabilities_and_predictions_over_seconds() -> None:
    labels = np.zeros((40, 3), np.int8)
    labels[:, 1] = 1
    labels[5] = -1
    figure = ethogram(
        labels,
        labels.astype(np.float32),
        BEHAVIORS,
        20.0,
        predicted=labels == 1,
        second=labels,
        limits=[10],
        first_frame=100,
        title="a recording",
    )
    grid = figure.axes
    names = [axes.get_ylabel() for axes in grid]
    assert names == ["labels", "second\nlabels", "probability", "predicted"]
    assert grid[0].get_title(loc="left") == "a recording"
    assert grid[-1].get_xlim() == (5.0, 7.0)
    assert [text.get_text() for text in grid[0].get_yticklabels()] == list(BEHAVIORS)
    assert any(line.get_xdata()[0] == 5.5 for line in grid[0].lines)
    figure.canvas.draw()


def test_only_labels_and_probabilities_are_needed() -> None:
    figure = ethogram(np.zeros((3, 1), np.int8), np.zeros((3, 1), np.float32), ["run"], 10.0)
    assert [axes.get_ylabel() for axes in figure.axes] == ["labels", "probability"]


def test_arrays_of_different_frames_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"probability are \(4, 1\) and should be \(3, 1\)"):
        ethogram(np.zeros((3, 1), np.int8), np.zeros((4, 1), np.float32), ["run"], 10.0)
    with pytest.raises(InvalidRequest, match="at least one"):
        ethogram(np.zeros((0, 1), np.int8), np.zeros((0, 1), np.float32), ["run"], 10.0)

from pathlib import Path

import pytest

from training.study.plots import Part, draw_bars, new_picture, save_picture


@pytest.mark.parametrize("high", [0.2, 300.0])
def test_the_legend_hides_no_bar(tmp_path: Path, high: float) -> None:
    record = {"series": "tiny", "test": high, "test_sem": None, "training": high}
    record["training_sem"] = None
    figure, axes = new_picture("random splits", "mean error")
    draw_bars(axes, [record], [record], [Part("test", "test"), Part("training", "training")])
    save_picture(figure, axes, tmp_path / "study.png")
    [legend] = figure.legends
    assert [one.get_text() for one in legend.get_texts()] == ["test", "training"]
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())

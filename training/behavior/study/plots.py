"""The picture of a behavior study: macro F1 beside chance."""

from collections.abc import Sequence
from pathlib import Path

from training.behavior.study.settings import TITLES, StudyKind
from training.behavior.study.tables import BehaviorResult, run_record, summarize_rows
from training.study.plots import Part, draw_bars, draw_lines, new_picture, save_picture

_PARTS = (
    Part("macro_f1", "macro F1"),
    Part("features_macro_f1", "features alone", "s--"),
    Part("chance_f1", "chance", "x:"),
)


def draw_study(kind: StudyKind, results: Sequence[BehaviorResult], path: Path) -> None:
    """Write the PNG of a study.

    Args:
        kind: of the study.
        results: at least one.
        path: file to write.
    """
    points = summarize_rows(results)
    parts = [part for part in _PARTS if any(one[part.name] is not None for one in points)]
    figure, axes = new_picture(TITLES[kind], "macro F1 on held-out recordings")
    if kind == "size":
        draw_lines(axes, points, "training_frames", parts)
        axes.set_xlabel("frames trained on")
    else:
        draw_bars(axes, points, [run_record(one) for one in results], parts)
    axes.set_ylim(0, 1)
    save_picture(figure, axes, path)

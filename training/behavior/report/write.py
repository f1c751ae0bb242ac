"""Writes the report: plots, ethograms, and the page that holds them all."""

import json
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from service.report.page import png_address, write_page
from training.behavior.figures import Answers, BehaviorFigures, SecondLabels, as_dict
from training.behavior.report.bout_plots import draw_bout_plots
from training.behavior.report.plots import draw_plots
from training.behavior.report.stretches import (
    STRETCH_S,
    extreme_stretches,
    recording_ethograms,
    stretch_ethogram,
)
from training.behavior.report.tables import (
    bout_table,
    class_table,
    labeller_table,
    recording_table,
    summary_table,
)

MOST_ETHOGRAMS = 12
"""Whole recordings that are drawn, those of low macro F1 first."""
_TEMPLATE = Path(__file__).parent / "report.html.jinja"
_DPI = 110


def write_report(
    figures: BehaviorFigures,
    predictions: Sequence[Answers],
    out: Path,
    *,
    title: str = "behavior model",
    notes: str = "",
    second: SecondLabels | None = None,
) -> Path:
    """Write `out`/report.html (self-contained), figures.json, plots/*.png and ethograms/*.png.

    Args:
        figures: what `training.behavior.figures.measure` says of the predictions.
        predictions: the answers that it measured.
        out: folder, made where it does not exist; files of an earlier report are replaced.
        title: names the model.
        notes: a sentence on data, engine and precision.
        second: the second person's labels that were measured, to be drawn in the ethograms.

    Returns:
        The HTML file.
    """
    flat = as_dict(figures)
    plots = _written({**draw_plots(figures), **draw_bout_plots(figures)}.items(), out / "plots")
    worst, best = extreme_stretches(predictions, figures)
    ethograms: list[tuple[str, tuple[str, Figure]]] = []
    for kind, stretches in (("worst", worst), ("best", best)):
        for rank, one in enumerate(stretches, start=1):
            picture = stretch_ethogram(predictions, figures, one, second)
            ethograms.append((f"{kind}-{rank}", ("", picture)))
    whole = recording_ethograms(predictions, figures, second=second, most=MOST_ETHOGRAMS)
    for rank, (name, picture) in enumerate(whole, start=1):
        ethograms.append((f"recording-{rank:03d}-{_file_name(name)}", (name, picture)))
    for pattern in ("worst-*.png", "best-*.png", "recording-*.png"):
        for path in (out / "ethograms").glob(pattern):
            path.unlink()  # of an earlier report, whose ranks were others
    pictures = _written(ethograms, out / "ethograms")
    (out / "figures.json").write_text(json.dumps(flat, indent=1) + "\n", encoding="utf-8")
    return write_page(
        _TEMPLATE,
        out / "report.html",
        title=title,
        notes=notes,
        figures=figures,
        summary=summary_table(figures, flat),
        classes=class_table(figures, flat),
        bouts=bout_table(figures, flat),
        labellers=labeller_table(figures),
        recordings=recording_table(figures, flat),
        plots=plots,
        stretch_s=STRETCH_S,
        ethograms={
            kind: [one for name, one in pictures.items() if name.startswith(kind)]
            for kind in ("worst", "best", "recording")
        },
    )


def _written(
    plots: Iterable[tuple[str, tuple[str, Figure]]], folder: Path
) -> dict[str, tuple[str, str]]:
    """Write each picture as PNG; return its caption and an address that holds it, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, (caption, figure) in plots:
        held = BytesIO()
        figure.savefig(held, dpi=_DPI, format="png")
        (folder / f"{name}.png").write_bytes(held.getvalue())
        found[name] = (caption, png_address(held.getvalue()))
    return found


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)

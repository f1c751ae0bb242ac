"""Writes the report: plots, labelled pictures, and the page that holds them all."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from service.preprocess import bgr_to_rgb
from service.report.page import Table, jpeg_address, png_address, write_page
from training.pose.evaluate import PoseMeasurement
from training.pose.report.pictures import LabelledPicture, write_pictures
from training.pose.report.plots import draw_plots

_TEMPLATE = Path(__file__).parent / "report.html.jinja"
_SHOWN_PICTURES = 12
"""Of each part, embedded in the page; the folders hold the others."""
_COLUMNS = (
    ("points", "points"),
    ("mean_error_px", "mean px"),
    ("sem_px", "± s.e.m."),
    ("median_error_px", "median px"),
    ("rmse_px", "RMSE px"),
    ("confident_share", "confident"),
    ("confident_mean_error_px", "mean px of these"),
    ("confident_rmse_px", "RMSE px of these"),
)
_SHARES = ("share", "recall", "precision", "oks", "pck")


def write_report(measured: PoseMeasurement, folder: Path) -> Path:
    """Write `folder`/report.html (self-contained), plots/*.png and labelled/<part>/*.png.

    Args:
        measured: the model's predictions and figures; its first part is the reported one.
        folder: made where it does not exist; files of an earlier report are replaced.

    Returns:
        The HTML file.
    """
    plots = draw_plots(measured, folder / "plots")
    pictures = {
        part.name: write_pictures(
            part,
            measured.keypoints,
            measured.confidence_cutoff,
            _emptied(folder / "labelled" / part.name),
        )
        for part in measured.parts
    }
    return write_page(
        _TEMPLATE,
        folder / "report.html",
        measured=measured,
        parts=[_part(part.name, part.figures) for part in measured.parts],
        plots=[(caption, png_address(path.read_bytes())) for caption, path in plots.values()],
        pictures=[(name, len(found), _shown(found)) for name, found in pictures.items()],
    )


def _part(name: str, figures: Mapping[str, object]) -> dict[str, object]:
    """What the page tells of one part: rows of the error table, and other figures by group."""
    per_keypoint = figures["per_keypoint"]
    assert isinstance(per_keypoint, dict), "summarize gives figures by keypoint"
    rows = [("all", figures), *per_keypoint.items()]
    groups: dict[str, list[tuple[str, str]]] = {}
    for title in ("pck_px", "pck_body", "detections", "human", "at_cutoff"):
        values = figures.get(title)
        if isinstance(values, dict):
            groups[title] = _flat(values)
    whole = [
        (key, figures[key]) for key in ("body_length_px", "oks_map", "oks_mar") if key in figures
    ]
    return {
        "name": name,
        "frames": figures["frames"],
        "errors": Table(
            head=("keypoint", *(title for _, title in _COLUMNS)),
            rows=tuple(
                (title, *(_cell(key, row.get(key)) for key, _ in _COLUMNS)) for title, row in rows
            ),
            first_is_total=True,
        ),
        "groups": groups,
        "whole": [(key, _cell(key, value)) for key, value in whole],
    }


def _flat(values: Mapping[str, object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            inner = ", ".join(
                f"{key} {_cell(key, one)}"
                for key, one in value.items()
                if not isinstance(one, dict)
            )
            found.append((name, inner)) if name != "per_keypoint" else found.extend(
                (key, ", ".join(f"{k} {_cell(k, one)}" for k, one in row.items()))
                for key, row in value.items()
            )
        else:
            found.append((name, _cell(name, value)))
    return found


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        is_share = name.endswith("share") or name.startswith(_SHARES)
        return f"{value:.1%}" if is_share else f"{value:.2f}"
    return str(value)


def _shown(pictures: list[LabelledPicture]) -> list[tuple[str, str]]:
    return [(one.frame, _embedded(one.path)) for one in pictures[:_SHOWN_PICTURES]]


def _embedded(path: Path) -> str:
    """An address that holds a picture as JPEG: as PNG, the page would be slow to open."""
    return jpeg_address(bgr_to_rgb(np.asarray(cv2.imread(str(path)), np.uint8)))


def _emptied(folder: Path) -> Path:
    """The folder without pictures of an earlier report, whose ranks were others."""
    if folder.is_dir():
        for path in folder.glob("[0-9][0-9][0-9]-*.png"):
            path.unlink()
    return folder

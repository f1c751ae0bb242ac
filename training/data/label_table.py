"""Reads label tables in DeepLabCut's layout, from CSV or from .h5, into one checked value.

A CSV begins with the rows scorer, individuals (only with several animals), bodyparts and coords;
every other row is a picture's path, in one cell (`labeled-data/m4s1/img0000.png`, Windows'
backslashes included) or in three, then x, y and, where a machine placed the points, likelihood of
each body part, empty where it is missing. How an .h5 is read without unpickling: label_h5.py.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.labels import InvalidLabels

H5_KEY = "df_with_missing"
SINGLE = "single"
"""The individual that DeepLabCut gives the body parts to that exist once in the scene."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """The points of one picture."""

    where: str
    """Which row it is, as messages name it."""
    picture: str
    """As the file names it, with slashes."""
    values: NDArray[np.float64]
    """(columns, 2 or 3) x, y in px and, with likelihood, its value; NaN where missing."""

    @property
    def file_name(self) -> str:
        """Last part of the picture's path."""
        return self.picture.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """One label file."""

    path: Path
    scorer: str
    has_individuals: bool
    has_likelihood: bool
    columns: tuple[tuple[str, str], ...]
    """Individual (empty without a level of individuals) and body part."""
    rows: tuple[TableRow, ...]

    @property
    def individuals(self) -> tuple[str, ...]:
        """Names of the individuals in order; one empty name without that level."""
        return tuple(dict.fromkeys(animal for animal, _ in self.columns))

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names of the body parts, those of animals before those of `single`."""
        return tuple(
            dict.fromkeys(
                [part for animal, part in self.columns if animal != SINGLE]
                + [part for animal, part in self.columns if animal == SINGLE]
            )
        )

    @property
    def unique_keypoints(self) -> tuple[str, ...]:
        """Names of the body parts of the individual `single`."""
        return tuple(part for animal, part in self.columns if animal == SINGLE)


def read_table(path: Path) -> LabelTable:
    """Read a label file.

    Raises:
        InvalidLabels: it is malformed; the message names the file, the row and what to do.
    """
    if path.suffix == ".h5":
        from training.data.label_h5 import read_cells

        cells = read_cells(path)
        table = _table(path, cells.level_names, cells.columns)
        rows = [
            _row(table, f"row {number}", picture, values)
            for number, (picture, values) in enumerate(
                zip(cells.pictures, cells.values, strict=True)
            )
        ]
    else:
        table, rows = _read_csv(path)
    pictures: dict[str, TableRow] = {}
    for row in rows:
        other = pictures.setdefault(row.picture, row)
        if other is not row:
            raise InvalidLabels(
                f"{path} {row.where}: {row.picture} is labelled twice (also in {other.where}); "
                "delete one of the rows"
            )
    return LabelTable(
        path=path,
        scorer=table.scorer,
        has_individuals=table.has_individuals,
        has_likelihood=table.has_likelihood,
        columns=table.columns,
        rows=tuple(rows),
    )


def _read_csv(path: Path) -> tuple[LabelTable, list[TableRow]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidLabels(
            f"{path} is not readable as CSV ({error}); save it again from the labelling tool"
        ) from error
    starts = [row[0] if row else "" for row in lines[:4]]
    head = 4 if "individuals" in starts else 3
    wanted = ["scorer", "individuals", "bodyparts", "coords"]
    if head == 3:
        wanted.remove("individuals")
    if starts[:head] != wanted:
        raise InvalidLabels(
            f"{path} {'is empty' if not any(map(any, lines)) else f'begins with {starts[:head]}'}; "
            "its first rows must be scorer, bodyparts and coords (with several animals "
            "individuals after scorer): save it again from the labelling tool, with commas between "
            "the cells"
        )
    coords = lines[head - 1]
    leading = next((i for i, cell in enumerate(coords) if cell in ("x", "y")), len(coords))
    for number, line in enumerate(lines[:head], start=1):
        if len(line) != len(coords):
            raise InvalidLabels(
                f"{path} row {number} has {len(line)} cells instead of {len(coords)}; save the "
                "file again from the labelling tool"
            )
    columns = list(zip(*(line[leading:] for line in lines[:head]), strict=True))
    table = _table(path, wanted, columns)
    rows = []
    for number, line in enumerate(lines[head:], start=head + 1):
        if not any(line):
            continue
        if len(line) != len(coords):
            raise InvalidLabels(
                f"{path} row {number} has {len(line)} cells instead of {len(coords)}; "
                "correct or delete it"
            )
        values = [
            _number(path, number, column, cell)
            for column, cell in zip(columns, line[leading:], strict=True)
        ]
        picture = "/".join(cell for cell in line[:leading] if cell)
        rows.append(_row(table, f"row {number}", picture, np.array(values, np.float64)))
    return table, rows


def _table(path: Path, level_names: list[str], columns: list[tuple[str, ...]]) -> LabelTable:
    """Check the columns; the table that is returned has no rows yet."""
    has_individuals = "individuals" in level_names
    again = "save it again from the labelling tool"
    if level_names != ["scorer", *(["individuals"] * has_individuals), "bodyparts", "coords"]:
        raise InvalidLabels(f"{path} has the column levels {', '.join(level_names)}; {again}")
    coords = [column[-1] for column in columns]
    step = 3 if "likelihood" in coords else 2
    owners = [(column[1] if has_individuals else "", column[-2]) for column in columns]
    if (
        not columns
        or coords != ["x", "y", "likelihood"][:step] * (len(columns) // step)
        or any(owners[i] != owners[i - i % step] for i in range(len(owners)))
    ):
        shown = ", ".join("/".join(column[1:]) for column in columns) or "none"
        raise InvalidLabels(
            f"{path} does not have the columns x, y of each body part in turn (columns: {shown}); "
            f"{again}"
        )
    names = owners[::step]
    for place, name in enumerate(names):
        if name in names[:place]:
            owner = f" of {name[0]}" if name[0] else ""
            raise InvalidLabels(
                f"{path} row {len(level_names) - 1}: the body part {name[1]}{owner} stands there "
                "twice; delete one of its pairs of columns, or correct its name"
            )
    scorers = sorted({column[0] for column in columns})
    if len(scorers) > 1:
        raise InvalidLabels(
            f"{path} row 1 names the scorers {', '.join(scorers)}; one file has one scorer"
        )
    return LabelTable(
        path=path,
        scorer=scorers[0],
        has_individuals=has_individuals,
        has_likelihood=step == 3,
        columns=tuple(names),
        rows=(),
    )


def _row(table: LabelTable, where: str, picture: str, values: NDArray[np.float64]) -> TableRow:
    points = values.reshape(len(table.columns), -1)
    for (animal, part), point in zip(table.columns, points[:, :2], strict=True):
        if np.isnan(point).any() != np.isnan(point).all() or np.isinf(point).any():
            name = f"{animal} {part}".strip()
            raise InvalidLabels(
                f"{table.path} {where}: {name} is ({point[0]:g}, {point[1]:g}); give both x and "
                "y, or leave both empty for a missing point"
            )
    return TableRow(where, picture.replace("\\", "/"), points)


def _number(path: Path, row: int, column: tuple[str, ...], cell: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise InvalidLabels(
            f"{path} row {row}: {' '.join(column[1:-1])} is {cell!r}, which is not a number; "
            "correct it, or leave it empty for a missing point"
        ) from None

"""Reads events that were exported from BORIS, of versions 7 and 8, into labels for each frame.

Two kinds of export are read, as CSV or TSV; both may hold several observations and subjects:

* aggregated events: one row a bout, with `Start (s)` and `Stop (s)`;
* (tabular) events: one row an event with `Time`, whose START and STOP make a bout. Version 8 has
  them in `Behavior type`, version 7 in `Status`, below lines about the observation.

The video is `Media file name` or `Source` (version 8), `Media file` or `Media file path` (version
7); only its file name counts. Times are s from the start of the observation and hold its `Time
offset (s)`, which is taken off again. Files that were played one after the other (version 8 names
them in `Source`, with their durations) get their own part of the times. A bout holds the frames
from round(start * rate) up to, but without, round(stop * rate), at least one; a POINT event holds
one frame. `Image index` (from 0) is taken where a row has no time. Frames without an event are
labelled as absent; events named background or none are left out, as background is recomputed.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from service.behavior import BACKGROUND
from training.data.labels import InvalidLabels

SUFFIXES = (".csv", ".tsv", ".txt")
_MEDIA = ("Media file name", "Media file", "Media file path", "Source")
_RATE = ("FPS (frame/s)", "FPS")
_START = ("Start (s)", "Start")
_STOP = ("Stop (s)", "Stop")
_TIME = ("Time", "Time (s)", "Start (s)")
_KIND = ("Status", "Behavior type", "Behaviour type", "Type")
_BEHAVIOR = ("Behavior", "Behaviour")
_OBSERVATION = ("Observation id",)
_OFFSET = "Time offset (s)"
_DURATION = "Media duration (s)"
_EMPTY = ("", "na", "nan", "n/a", "none", "not found")
_FIRST_PLAYER = "player #1"
_CLOCK_S = 5e-4
"""BORIS writes times in ms: one of 0 s may come out so much before the video."""
_RATE_TOLERANCE = 0.01
_SLACK_FRAMES = 1
"""A last bout often ends at the length that the container claims, a frame beyond its last one."""


@dataclass(frozen=True, slots=True)
class BorisBout:
    """One bout or point event."""

    row: int
    """Line in the file, from 1; of a text of several lines, the last one."""
    behavior: str
    subject: str
    start_s: float
    """NaN where the row has only image indices."""
    stop_s: float
    """The same as the start for a point event."""
    start_frame: int | None
    stop_frame: int | None


@dataclass(frozen=True, slots=True)
class BorisVideo:
    """The bouts of one media file."""

    export: Path
    media: str
    """File name of the video without its folder."""
    frame_rate_hz: float | None
    """As the export states it."""
    bouts: tuple[BorisBout, ...]

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Names in the order of their first bout, without background."""
        names = dict.fromkeys(bout.behavior for bout in self.bouts)
        return tuple(name for name in names if name not in (BACKGROUND, "none"))

    def renamed(self, names: Mapping[str, str]) -> "BorisVideo":
        """Give behaviors other names; those that `names` does not hold keep theirs."""
        bouts = (
            replace(bout, behavior=names.get(bout.behavior, bout.behavior)) for bout in self.bouts
        )
        return replace(self, bouts=tuple(bouts))


def is_boris(path: Path) -> bool:
    """Whether a file is a table of BORIS events, by its columns."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        return _read_rows(path) is not None
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_boris(path: Path, subject: str | None = None) -> list[BorisVideo]:
    """Read an export.

    Args:
        path: CSV or TSV.
        subject: only the events of this one; None takes those of all together.

    Raises:
        InvalidLabels: the file is no such export, a row cannot be understood, a start has no stop
            or a stop no start, or files follow one another and their durations are not told.
    """
    try:
        found = _read_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidLabels(f"{path} cannot be read: {error}; export it as CSV or TSV") from error
    if found is None:
        raise InvalidLabels(
            f"{path} has no line with the columns Behavior, a media file and Start (s) and "
            "Stop (s), or Time and Status (or Behavior type); export `aggregated events` or "
            "`tabular events` from BORIS as CSV or TSV"
        )
    observation, names, rows = found
    table = [
        _Row(path, line, observation | dict(zip(names, cells, strict=False)))
        for line, cells in rows
        if any(cells)
    ]
    if subject is not None:
        subjects = sorted({row.text(("Subject",)) for row in table})
        table = [row for row in table if row.text(("Subject",)) == subject]
        if not table:
            raise InvalidLabels(
                f"{path} has no event of the subject {subject!r}; it has {', '.join(subjects)}"
            )
    by_media: dict[tuple[_Part, ...], list[_Row]] = {}
    for row in table:
        by_media.setdefault(row.media(), []).append(row)
    is_aggregated = _has(names, _START) and _has(names, _STOP)
    make = _aggregated if is_aggregated else _paired
    rates: dict[str, float | None] = {}
    bouts: dict[str, list[BorisBout]] = {}
    for parts, of_parts in by_media.items():
        made = make(of_parts)
        for part in parts:
            rates[part.media] = rates.get(part.media) or _stated_rate(of_parts)
            bouts.setdefault(part.media, []).extend(part.cut(made))
    return [BorisVideo(path, media, rates[media], tuple(found)) for media, found in bouts.items()]


def boris_labels(
    video: BorisVideo, behaviors: Sequence[str], *, frames: int, frame_rate_hz: float
) -> NDArray[np.int8]:
    """Turn bouts into (frames, behaviors) labels of 1 and 0.

    Args:
        video: bouts of one media file.
        behaviors: the columns; those without a bout are absent throughout.
        frames: that the video has.
        frame_rate_hz: of the video.

    Raises:
        InvalidLabels: a behavior is not one of `behaviors`, a bout goes beyond the video's end,
            or the export states another frame rate.
    """
    stated = video.frame_rate_hz
    if stated is not None and abs(stated - frame_rate_hz) > _RATE_TOLERANCE * frame_rate_hz:
        raise InvalidLabels(
            f"{video.export} states {stated:g} frames/s for {video.media}, but the video has "
            f"{frame_rate_hz:g}; give the video that was scored"
        )
    columns = {name: column for column, name in enumerate(behaviors)}
    labels = np.zeros((frames, len(behaviors)), np.int8)
    for bout in video.bouts:
        if bout.behavior in (BACKGROUND, "none"):
            continue
        if bout.behavior not in columns:
            raise InvalidLabels(
                f"{video.export} has the unknown behavior {bout.behavior!r} in row {bout.row}; "
                f"the behaviors are {', '.join(behaviors)}: add it to the project, or rename it"
            )
        first = _frame(bout.start_frame, bout.start_s, frame_rate_hz)
        end = max(first + 1, _frame(bout.stop_frame, bout.stop_s, frame_rate_hz))
        if first >= frames or end > frames + _SLACK_FRAMES:
            raise InvalidLabels(
                f"{video.export} has {bout.behavior} up to frame {end - 1} in row {bout.row}, but "
                f"{video.media} has {frames} frames ({frames / frame_rate_hz:.3f} s); give the "
                "video that was scored, or correct the row"
            )
        labels[first:end, columns[bout.behavior]] = 1
    return labels


@dataclass(frozen=True, slots=True)
class _Part:
    """One media file within the time of an observation."""

    media: str
    begin_s: float
    end_s: float

    def cut(self, bouts: Iterable[BorisBout]) -> Iterator[BorisBout]:
        """Give what of the bouts lies in this file, in its own time."""
        for bout in bouts:
            if math.isnan(bout.start_s):  # pictures
                yield bout
            elif bout.start_s < self.end_s and (
                bout.stop_s > self.begin_s or bout.start_s >= self.begin_s
            ):
                start_s, stop_s = max(bout.start_s, self.begin_s), min(bout.stop_s, self.end_s)
                yield replace(bout, start_s=start_s - self.begin_s, stop_s=stop_s - self.begin_s)


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, names: Iterable[str]) -> str:
        """The first cell of those columns that is not empty."""
        for name in names:
            value = self.cells.get(name, "").strip()
            if value.lower() not in _EMPTY:
                return value
        return ""

    def number(self, names: Iterable[str]) -> float:
        """NaN where it is empty."""
        value = self.text(names)
        try:
            number = float(value) if value else math.nan
        except ValueError:
            number = math.inf
        if math.isinf(number):
            raise self.wrong(f"{value!r} as {' or '.join(names)}", "give a number such as 12.5")
        return number

    def time_s(self, names: Iterable[str]) -> float:
        """Time from the start of the (first) media file; NaN where it is empty."""
        offset_s = self.number((_OFFSET,))
        offset_s = 0.0 if math.isnan(offset_s) else offset_s
        time_s = self.number(names) - offset_s
        if time_s < -_CLOCK_S:
            told = f" (time offset {offset_s:g} s)" if offset_s else ""
            raise self.wrong(
                f"{self.text(names)!r} as {' or '.join(names)}{told}, which is before the video",
                "correct it in BORIS and export again",
            )
        return max(time_s, 0.0)  # NaN stays

    def index(self, name: str) -> int | None:
        value = self.number((name,))
        if value < 0:
            raise self.wrong(f"{self.text((name,))!r} as {name}", "give a number from 0")
        return None if math.isnan(value) else int(value)

    def behavior(self) -> str:
        name = next((self.cells[one].strip() for one in _BEHAVIOR if one in self.cells), "")
        if not name:
            raise self.wrong("no behavior", "name one, or delete the row")
        return name

    def media(self) -> tuple[_Part, ...]:
        """Files that were played one after the other; nearly always one."""
        # Other players show the same moments from other sides.
        files, lengths = (self.text((name,)).split("|")[0] for name in ("Source", _DURATION))
        if ";" in files and (not lengths or ";" in lengths):  # else it is in the name of one
            return self._sequence(_file_names(files), lengths.split(";"))
        value = self.text(_MEDIA)
        if not value or value.upper() == "LIVE":
            raise self.wrong(
                "no media file", "only observations of a video can be read; delete the others"
            )
        names = _file_names(value.replace("|", ";"))
        if len(set(names)) > 1:
            raise self._several(names)
        return (_Part(names[0], 0.0, math.inf),)

    def _sequence(self, names: Sequence[str], lengths: Sequence[str]) -> tuple[_Part, ...]:
        try:
            lengths_s = [float(one) for one in lengths]
        except ValueError:
            raise self._several(names) from None
        if len(lengths_s) != len(names) or not all(0 < one < math.inf for one in lengths_s):
            raise self._several(names)
        ends_s = [*itertools.accumulate(lengths_s)]
        ends_s[-1] = math.inf  # what goes beyond the last one is told as of any video
        return tuple(map(_Part, names, [0.0, *ends_s[:-1]], ends_s))

    def _several(self, names: Sequence[str]) -> InvalidLabels:
        return self.wrong(
            f"several media files ({', '.join(names)})",
            "score each video in an observation of its own, or export it from BORIS 8, which tells "
            "how long each is",
        )

    def wrong(self, what: str, remedy: str) -> InvalidLabels:
        return InvalidLabels(f"{self.path} has {what} in row {self.line}; {remedy}")


def _aggregated(rows: Sequence[_Row]) -> list[BorisBout]:
    bouts = []
    for row in rows:
        start_s, stop_s = row.time_s(_START), row.time_s(_STOP)
        first, last = row.index("Image index start"), row.index("Image index stop")
        if row.text(("Behavior type", "Behaviour type")).upper().startswith("POINT"):
            stop_s, last = start_s, first
        if math.isnan(start_s) != math.isnan(stop_s) or (math.isnan(start_s) and first is None):
            raise row.wrong("no start or no stop", "set both in BORIS and export again")
        if stop_s < start_s or (first is not None and last is not None and last < first):
            raise row.wrong("a stop before its start", "correct it in BORIS and export again")
        bouts.append(_bout(row, row, start_s, stop_s, first, last))
    return bouts


def _paired(rows: Sequence[_Row]) -> list[BorisBout]:
    bouts: list[BorisBout] = []
    started: dict[tuple[str, ...], _Row] = {}
    for row in rows:
        time_s, index = row.time_s(_TIME), row.index("Image index")
        if math.isnan(time_s) and index is None:
            raise row.wrong("no time", "set it in BORIS and export again")
        modifiers = [row.cells[name] for name in row.cells if name.startswith("Modifier")]
        key = (row.text(_OBSERVATION), row.text(("Subject",)), row.behavior(), *modifiers)
        kind = row.text(_KIND).upper()
        if kind.startswith("POINT"):
            bouts.append(_bout(row, row, time_s, time_s, index, index))
        elif kind == "START":
            if key in started:
                raise row.wrong(
                    f"a second start of {key[2]} after that in row {started[key].line}",
                    "add the stop in BORIS (`fix unpaired events`) and export again",
                )
            started[key] = row
        elif kind == "STOP":
            if key not in started:
                raise row.wrong(
                    f"a stop of {key[2]} without a start",
                    "add the start in BORIS (`fix unpaired events`) and export again",
                )
            start = started.pop(key)
            start_s, first = start.time_s(_TIME), start.index("Image index")
            if time_s < start_s:
                raise row.wrong("a stop before its start", "correct it in BORIS and export again")
            bouts.append(_bout(start, row, start_s, time_s, first, index))
        else:
            raise row.wrong(f"{kind!r} as the kind of event", "give START, STOP or POINT")
    for key, row in started.items():
        raise row.wrong(
            f"a start of {key[2]} without a stop",
            "add the stop in BORIS (`fix unpaired events`) and export again",
        )
    return bouts


def _bout(
    start: _Row,
    stop: _Row,
    start_s: float,
    stop_s: float,
    first: int | None,
    last: int | None,
) -> BorisBout:
    subject = start.text(("Subject",))
    return BorisBout(stop.line, start.behavior(), subject, start_s, stop_s, first, last)


def _frame(index: int | None, time_s: float, frame_rate_hz: float) -> int:
    if math.isnan(time_s):
        assert index is not None  # `_aggregated` and `_paired` refuse rows without both
        return index
    return round(time_s * frame_rate_hz)


def _stated_rate(rows: Sequence[_Row]) -> float | None:
    for row in rows:
        rates = {one.strip() for one in row.text(_RATE).replace("|", ";").split(";")} - {""}
        if len(rates) == 1:
            try:
                rate = float(rates.pop())
            except ValueError:
                continue
            if rate > 0:
                return rate
    return None


def _file_names(files: str) -> list[str]:
    """Names without folders of paths with `;` between them, behind the name of a player."""
    return [
        PureWindowsPath(part.split(":", 1)[1] if part.startswith("player #") else part).name
        for part in files.split(";")
        if part.strip()
    ]


def _read_rows(
    path: Path,
) -> tuple[dict[str, str], list[str], list[tuple[int, list[str]]]] | None:
    """Return what stands of the observation above the table, its columns and its lines."""
    text = path.read_text(encoding="utf-8-sig")
    for delimiter in "\t,;":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        header = _find_header([cells for _, cells in rows])
        if header is not None:
            above = [cells for _, cells in rows[:header]]
            return _observation(above), rows[header][1], rows[header + 1 :]
    return None


def _observation(above: Iterable[Sequence[str]]) -> dict[str, str]:
    """Cells of version 8 from the lines above the table of version 7."""
    pairs = [(cells[0], cells[1]) for cells in above if len(cells) > 1]
    files = [value for name, value in pairs if name.lower() == _FIRST_PLAYER and value]
    found = {name: value for name, value in pairs if name == _OFFSET}
    return found | ({"Source": f"{_FIRST_PLAYER}:{';'.join(files)}"} if len(files) > 1 else {})


def _find_header(rows: Sequence[Sequence[str]]) -> int | None:
    for line, cells in enumerate(rows):
        bouts = _has(cells, _START) and _has(cells, _STOP)
        events = _has(cells, _TIME) and _has(cells, _KIND)
        if _has(cells, _BEHAVIOR) and _has(cells, _MEDIA) and (bouts or events):
            return line
    return None


def _has(cells: Sequence[str], names: Sequence[str]) -> bool:
    return any(name in cells for name in names)

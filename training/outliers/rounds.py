"""What each round of correcting and training again gained, from the runs that did it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from service.errors import InvalidConfig, NotFound
from training.runs import Run, open_run


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of one part of evaluation.json."""

    mean_error_px: float | None = None
    rmse_px: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One training in a row of them, each of which started from the one before."""

    run: str
    """The run's folder."""
    labelled_frames: int
    """Of all parts of its split."""
    training_frames: int
    test_frames: int
    test_error_px: float | None
    """Mean Euclidean distance on the test frames; None where it was not measured."""
    test_rmse_px: float | None
    """Root of the mean squared distance on the test frames."""
    gain_px: float | None
    """How much smaller the test error is than in the round before; None in the first."""
    same_test: bool
    """Whether the test frames are those of the round before; the gain says little if not."""


def read_rounds(newest: Path) -> tuple[Round, ...]:
    """Follow the parents of a run back to the first one, and return them oldest first.

    Args:
        newest: folder of a run; its config.json names the `parent` that it started from.

    Raises:
        NotFound: a run or its split does not exist.
        InvalidConfig: a file is malformed, or a run is its own ancestor.
    """
    runs = _ancestors(newest)
    rounds: list[Round] = []
    before: frozenset[str] | None = None
    for run in runs:
        split = run.split()
        figures = _test_figures(run)
        test = frozenset(split.test)
        earlier = rounds[-1].test_error_px if rounds else None
        error = figures.mean_error_px
        rounds.append(
            Round(
                run=str(run.directory),
                labelled_frames=len(split.training) + len(split.validation) + len(split.test),
                training_frames=len(split.training),
                test_frames=len(split.test),
                test_error_px=error,
                test_rmse_px=figures.rmse_px,
                gain_px=None if earlier is None or error is None else earlier - error,
                same_test=before is None or before == test,
            )
        )
        before = test
    return tuple(rounds)


def rounds_table(rounds: Sequence[Round]) -> str:
    """Return the rounds as a Markdown table, errors in px."""
    lines = [
        "| round | run | labelled frames | test frames | test error (px) | gain (px) |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for number, one in enumerate(rounds):
        gain = _shown(one.gain_px, "+.2f") + ("" if one.same_test else " (other test frames)")
        lines.append(
            f"| {number} | {Path(one.run).name} | {one.labelled_frames} | {one.test_frames} "
            f"| {_shown(one.test_error_px, '.2f')} | {gain} |"
        )
    return "\n".join(lines)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ancestors(newest: Path) -> list[Run]:
    """Return the runs from the first to the newest."""
    runs: list[Run] = []
    seen: set[Path] = set()
    path: Path | None = newest
    while path is not None:
        if path.resolve() in seen:
            raise InvalidConfig(
                f"{path} is among its own parents; correct `parent` in its config.json"
            )
        seen.add(path.resolve())
        run = _open(path, runs)
        runs.append(run)
        path = _parent(run)
    return runs[::-1]


def _open(path: Path, later: Sequence[Run]) -> Run:
    try:
        return open_run(path)
    except NotFound as error:
        if not later:
            raise
        raise NotFound(
            f"{path}, the parent of {later[-1].directory}, is not there any more; restore it, or "
            "correct `parent` in the config.json of that run"
        ) from error


def _parent(run: Run) -> Path | None:
    parent = run.config.get("parent")
    if parent is None:
        return None
    if not isinstance(parent, str):
        raise InvalidConfig(
            f"{run.directory / 'config.json'} has the parent {parent!r}; it must be a path"
        )
    found = Path(parent)
    # Runs that were moved together still lie beside each other.
    beside = run.directory.resolve().parent / found.name
    return beside if not found.is_dir() and beside.is_dir() else found


def _test_figures(run: Run) -> _Figures:
    if not run.evaluation.is_file():
        return _Figures()
    try:
        figures = msgspec.json.decode(run.evaluation.read_bytes(), type=dict[str, _Figures])
    except msgspec.MsgspecError as error:
        raise InvalidConfig(
            f"{run.evaluation} is malformed: {error}; evaluate the run again"
        ) from error
    return figures.get("test", _Figures())

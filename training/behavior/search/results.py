"""What a search found: a file for each trial, a table of all, the best settings as TOML."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from service.errors import InvalidConfig
from service.results.atomic import replacing
from training.behavior.search.space import Value

Ending = Literal["whole", "early", "failed"]
"""How a trial ended: after all its epochs, stopped because others did better, or by an error."""


class TrialResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One trial."""

    trial: int
    """Its number, from 0."""
    settings: dict[str, Value]
    """What was varied, by dotted name."""
    ending: Ending
    scores: tuple[float, ...]
    """The score of each epoch."""
    error: str = ""
    """What went wrong, where it failed."""

    @property
    def best(self) -> float:
        """The highest score; minus infinity without an epoch."""
        return max(self.scores, default=float("-inf"))


def ranked(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Sort by score, the best first; trials that failed come last."""
    return sorted(results, key=lambda one: (one.ending == "failed", -one.best, one.trial))


def write_result(directory: Path, result: TrialResult) -> None:
    """Store a trial; a stored one is not trained again when the search is continued."""
    with replacing(_path(directory, result.trial)) as unfinished:
        unfinished.write_bytes(msgspec.json.encode(result) + b"\n")


def read_results(directory: Path, trials: Sequence[dict[str, Value]]) -> list[TrialResult]:
    """Read the stored results of `trials`; those that failed are left out, to be tried again.

    Raises:
        InvalidConfig: a stored trial had other settings: the space or the seed has changed.
    """
    found = []
    for trial, settings in enumerate(trials):
        path = _path(directory, trial)
        if not path.is_file():
            continue
        result = msgspec.json.decode(path.read_bytes(), type=TrialResult)
        if result.settings != settings:
            raise InvalidConfig(
                f"{path} holds a trial with {result.settings}, but {settings} was drawn; continue "
                "with the same ranges and seed, or name another folder"
            )
        if result.ending != "failed":
            found.append(result)
    return found


def write_table(path: Path, results: Sequence[TrialResult], score: str) -> None:
    """Write a CSV with a row for each trial, the best first.

    Args:
        path: of the CSV.
        results: of all trials.
        score: name of the column of the highest score.
    """
    varied = sorted({name for one in results for name in one.settings})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", score, "best_epoch", "epochs", "ending", *varied, "error"])
        for one in ranked(results):
            best_epoch = one.scores.index(one.best) if one.scores else ""
            writer.writerow(
                [
                    one.trial,
                    round(one.best, 6) if one.scores else "",
                    best_epoch,
                    len(one.scores),
                    one.ending,
                    *(one.settings.get(name, "") for name in varied),
                    one.error,
                ]
            )


def write_best(path: Path, result: TrialResult, score: str) -> None:
    """Write the settings of a trial as TOML, with a comment of what it reached."""
    comment = f"# trial {result.trial}: {score} {result.best:.4f} in {len(result.scores)} epochs\n"
    # Numbers, truth values and quoted strings of JSON are those of TOML, too.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in sorted(result.settings.items())]
    path.write_text(comment + "".join(lines), encoding="utf-8")


def _path(directory: Path, trial: int) -> Path:
    return directory / f"trial_{trial:04d}.json"

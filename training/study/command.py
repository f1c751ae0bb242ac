"""What the commands of all studies share: options, and the way from rows to a table."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:  # --help needs no torch, nor what draws
    from training.study.rows import RowResult, StudyRow
    from training.study.tables import Record

_Choices = TypeVar("_Choices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(Generic[_Choices]):
    """What one study trains, and how it tells what came out."""

    kind: str
    rows: "Sequence[StudyRow[_Choices]]"
    data_sha256: str
    worker: str
    """Module that trains a row."""
    result_type: "type[RowResult[_Choices]]"
    short: "Callable[[RowResult[_Choices]], str]"
    """Figures of a row as one line."""
    record: "Callable[[RowResult[_Choices]], Record]"
    points: "Callable[[Sequence[RowResult[_Choices]]], list[Record]]"
    table: "Callable[[Sequence[RowResult[_Choices]]], str]"
    """Markdown."""
    draw: "Callable[[Sequence[RowResult[_Choices]], Path], None]"
    summary: "Callable[[Sequence[RowResult[_Choices]]], dict[str, object]]"
    """What the last line tells beside what every study's does."""


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """Add where a study goes and how much trains at once; `threads` is the task's own."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the study")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at once (default: 1)")
    add("--keep", action="store_true", help="keep the checkpoints of every run")
    add("--json", action="store_true", help="print only the last line, JSON")


def run_and_tell(study: Study[_Choices], arguments: argparse.Namespace) -> int:
    """Train the rows that are left, write table, CSV and picture, print the summary.

    Args:
        study: what is trained and told.
        arguments: those of `add_study_options`, `data` and `threads`.

    Returns:
        The exit status: 1 where a training failed.
    """
    from training.runs import code_commit
    from training.study.drive import ProcessTrainer, run_study
    from training.study.tables import text_table, write_csv

    out: Path = arguments.out
    results, failures = run_study(
        study.rows,
        arguments.data,
        study.data_sha256,
        out,
        trainer=ProcessTrainer(study.worker, study.result_type),
        jobs=arguments.jobs,
        threads=arguments.threads or (1 if arguments.jobs > 1 else None),
        keep=arguments.keep,
        tell=study.short,
        say=(lambda line: None) if arguments.json else (lambda line: print(line, flush=True)),
    )
    if results:
        table = study.table(results)
        (out / "table.md").write_text(table, encoding="utf-8")
        write_csv(out / "rows.csv", [study.record(one) for one in results])
        study.draw(results, out / "study.png")
        if not arguments.json:
            print(f"\n{text_table(table)}\n\n{out}/table.md, rows.csv, study.png")
    told = {
        "study": study.kind,
        "out": str(out),
        "done": len(results),
        "failed": failures,
        "rows": study.points(results),
        "commit": code_commit(),
    }
    print(json.dumps(told | study.summary(results)))
    return 1 if failures else 0

"""Writes the behavior answers of many stored results as CSV files, one row a frame."""

from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidRequest
from service.results.deepethogram import behavior_path, write_behavior
from service.results.parquet import read_results


def export_predictions(results: Sequence[Path], out: Path | None = None) -> list[Path]:
    """Write `<video>_predictions.csv` and `<video>_probabilities.csv` of every result.

    Predictions are 1 and 0 after the bout rule, `background` first, -1 without an answer.

    Args:
        results: .parquet files, or folders that are searched with all that is below them.
        out: folder of the CSV files, which keeps the sub-folders of a searched one; None puts
            them beside each result.

    Returns:
        The files with predictions.

    Raises:
        InvalidRequest: no result is there, none has answers of a behavior bundle, a named file is
            no result, or two results would be written to one file.
    """
    written: list[Path] = []
    for path in results:
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        for file in files:
            found = read_results(file)
            answers = found.behavior_answers()
            if not answers:
                continue
            base = path if path.is_dir() else path.parent
            folder = file.parent if out is None else out / file.parent.relative_to(base)
            stem = file.stem
            paths = [
                behavior_path(folder, stem, bundle, "predictions", several=len(answers) > 1)
                for bundle, _ in answers
            ]
            twice = next((one for one in paths if one in written), None)
            if twice is not None:
                raise InvalidRequest(f"{file} and another result would both be {twice}; rename it")
            folder.mkdir(parents=True, exist_ok=True)
            write_behavior(found, folder, stem)
            written += paths
    if not written:
        raise InvalidRequest(
            f"no behavior results are in {', '.join(map(str, results))}; name .parquet files of "
            "`ethostream analyze` with a behavior bundle"
        )
    return written

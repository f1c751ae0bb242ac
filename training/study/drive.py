"""Trains the rows of a study, several at once, and stores each one when it is done."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Generic, Protocol

import msgspec

from service.errors import EthostreamError, InvalidConfig
from service.results.atomic import replacing
from training.study.rows import Choices, Job, RowResult, StudyRow


class RowFailed(EthostreamError):
    """The training of a row ended with an error; its log tells more."""

    status = "INTERNAL"


class Trainer(Protocol[Choices]):
    """Trains one row; several threads may ask at once."""

    @property
    def result_type(self) -> type[RowResult[Choices]]:
        """What it answers, and stored rows are read as."""
        ...

    def train(self, job: Job[Choices], folder: Path) -> RowResult[Choices]:
        """Train the row in the folder of its run.

        Raises:
            EthostreamError: it failed; other rows go on.
        """
        ...

    def stop(self) -> None:
        """End what is being trained, since the study was told to stop."""
        ...


def run_study(
    rows: Sequence[StudyRow[Choices]],
    data: Sequence[Path],
    data_sha256: str,
    out: Path,
    *,
    trainer: Trainer[Choices],
    jobs: int = 1,
    threads: int | None = None,
    keep: bool = False,
    tell: Callable[[RowResult[Choices]], str] = lambda result: "",
    say: Callable[[str], None] = lambda line: None,
) -> tuple[list[RowResult[Choices]], list[str]]:
    """Train all rows that are not done yet.

    Args:
        rows: as planned.
        data: labelled projects and files.
        data_sha256: their hash.
        out: folder of the study: rows/<key>.json of what is done, runs/<key>.
        trainer: trains one row.
        jobs: rows that train at once.
        threads: processor threads of each.
        keep: keep the checkpoints of the runs.
        tell: figures of a row as one line.
        say: takes a line of progress.

    Returns:
        Results in the order of the rows, and the messages of those that failed.

    Raises:
        InvalidConfig: a stored row is of another study or of other data.
    """
    stored = out / "rows"
    stored.mkdir(parents=True, exist_ok=True)
    done = {
        row.key: found
        for row in rows
        if (found := read_row(stored, row, data_sha256, trainer.result_type)) is not None
    }
    left = [row for row in rows if row.key not in done]
    say(f"{len(rows)} trainings, {len(done)} of them done before")
    failures: list[str] = []
    paths = tuple(str(path.resolve()) for path in data)
    with ThreadPoolExecutor(jobs) as pool:
        began = {
            pool.submit(
                trainer.train,
                Job(row=row, data=paths, data_sha256=data_sha256, threads=threads, keep=keep),
                out / "runs" / row.key,
            ): row
            for row in left
        }
        try:
            for future in as_completed(began):
                key = began[future].key
                try:
                    result = future.result()
                except EthostreamError as error:
                    failures.append(f"{key}: {error}")
                    say(failures[-1])
                    continue
                _store(stored / f"{key}.json", result)
                done[key] = result
                say(f"{len(done)}/{len(rows)}  {key}  {tell(result)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            trainer.stop()
            raise
    return [done[row.key] for row in rows if row.key in done], failures


def read_row(
    folder: Path,
    row: StudyRow[Choices],
    data_sha256: str,
    result_type: type[RowResult[Choices]],
) -> RowResult[Choices] | None:
    """Return the stored result of a row, or None where it is not done.

    Raises:
        InvalidConfig: the file is damaged, or of another row or other data.
    """
    path = folder / f"{row.key}.json"
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=result_type)
    except msgspec.MsgspecError as error:
        raise InvalidConfig(f"{path} is damaged: {error}; delete it to train the row again") from (
            error
        )
    if (found.row, found.data_sha256) != (row, data_sha256):
        what = "other settings" if found.row != row else "other labelled data"
        raise InvalidConfig(
            f"{path} was trained with {what}; give another --out, or delete it to train it again"
        )
    return found


class ProcessTrainer(Generic[Choices]):
    """Trains each row in a process of its own, with its output in `<run>.log`.

    Args:
        worker: module that is run for a row, which calls `training.study.worker.work`.
        result_type: what it answers.
    """

    def __init__(self, worker: str, result_type: type[RowResult[Choices]]) -> None:
        self._worker = worker
        self.result_type = result_type
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def train(self, job: Job[Choices], folder: Path) -> RowResult[Choices]:
        """See `Trainer.train`."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        told, answer = (folder.with_name(f"{folder.name}.{end}") for end in ("told", "answer"))
        log = folder.with_name(f"{folder.name}.log")
        told.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", self._worker]
        environment = dict(os.environ)
        if job.threads is not None:
            environment["OMP_NUM_THREADS"] = str(job.threads)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(told), str(folder), str(answer)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            self._running.add(process)
            if self._stopped:
                process.terminate()
            status = process.wait()
            self._running.discard(process)
        if status:
            lines = log.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "it said nothing"
            raise RowFailed(f"the training ended with status {status}: {last}; see {log}")
        result = msgspec.json.decode(answer.read_bytes(), type=self.result_type)
        for path in (told, answer):
            path.unlink()
        return result

    def stop(self) -> None:
        """See `Trainer.stop`."""
        self._stopped = True
        for process in list(self._running):
            process.terminate()


def _store(path: Path, result: RowResult[Choices]) -> None:
    with replacing(path) as unfinished:
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")

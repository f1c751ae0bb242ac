from pathlib import Path

import pytest

from service.errors import InvalidConfig, NotFound
from training.runs import Split, create_run, open_run

SPLIT = Split(rule="random", seed=1, training=("a", "b"), validation=("c",), test=("d",))


def test_a_run_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    made = create_run(tmp_path / "runs", "first", "pose", {"learning_rate": 0.001})
    made.write_split(SPLIT)
    read = open_run(tmp_path / "runs" / "first")
    assert read == made
    assert (read.name, read.task, read.config) == ("first", "pose", {"learning_rate": 0.001})
    assert read.split() == SPLIT
    assert {"commit", "python", "torch", "lightning"} <= set(read.versions())


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    create_run(tmp_path, "first", "pose", {})
    with pytest.raises(InvalidConfig, match="--resume"):
        create_run(tmp_path, "first", "behavior", {})


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfig):
        create_run(tmp_path, name, "pose", {})


def test_what_is_missing_or_malformed_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json does not exist"):
        open_run(tmp_path)
    run = create_run(tmp_path, "first", "pose", {})
    with pytest.raises(NotFound, match="no checkpoint"):
        run.best_checkpoint()
    with pytest.raises(NotFound, match=r"split\.json"):
        run.split()
    (run.directory / "config.json").write_text('{"task": "song"}')
    with pytest.raises(InvalidConfig, match="malformed"):
        open_run(run.directory)

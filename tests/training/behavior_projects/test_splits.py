from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from service.errors import InvalidConfig
from tests.training.behavior_projects.conftest import on, write_table
from training.behavior_projects.splits import update_split


def label(project: Path, *names: str) -> None:
    for name in names:
        path = project / "DATA" / name / f"{name}_labels.csv"
        write_table(path, {"run": on((1, 3)), "rear": on((5, 7))})


def test_split_yaml_is_drawn_once_and_extended_afterwards(
    make_project: Callable[..., Path],
) -> None:
    project = make_project("a", "b", "c", "d")
    label(project, "a", "b", "c")
    path, first = update_split(project)
    stored = yaml.safe_load(path.read_text())
    assert stored["train"] == list(first.training)
    assert {*stored["train"], *stored["val"], *stored["test"]} == {"a", "b", "c"}
    label(project, "d")
    _, second = update_split(project)
    assert second.validation == first.validation
    assert second.test == first.test
    assert set(second.training) == {*first.training, "d"}
    assert len(list((project / "label-backups").rglob("split.yaml"))) == 1
    _, third = update_split(project, redraw=True, shares=(0.5, 0.5, 0.0), seed=4)
    assert (len(third.training), len(third.validation), len(third.test)) == (2, 2, 0)


def test_too_few_videos_are_refused(project: Path) -> None:
    with pytest.raises(InvalidConfig, match="1 labelled recordings cannot be split into 3 parts"):
        update_split(project)

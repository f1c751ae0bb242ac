"""Writes project_config.yaml of a DeepEthogram project; keys that are not changed stay."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from service.results.atomic import replacing
from training.data.deepethogram import CONFIG_NAME, read_config


def write_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the configuration of a project as a whole."""
    with replacing(folder / CONFIG_NAME) as unfinished:
        unfinished.write_text(yaml.safe_dump(dict(values), sort_keys=False), "utf-8")


@contextmanager
def change_config(folder: Path) -> Iterator[dict[str, Any]]:
    """Give the configuration as plain values and write it back; comments in it are lost.

    Raises:
        InvalidLabels: it cannot be read.
    """
    values = read_config(folder)
    yield values
    write_config(folder, values)

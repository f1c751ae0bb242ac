"""Writes what was chosen as a settings file for `ethostream serve --config`."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from service.config import load_config
from service.results.atomic import replacing
from service.tuning.choice import Choice

_IN_FLIGHT_BATCHES = 4
"""Frames of one video in largest batches, so that the device never waits for one."""


def write_settings(
    path: Path, choice: Choice, *, models: Path, bundles: Sequence[str], head: str
) -> None:
    """Write the file, and read it back as the server would.

    Args:
        path: of the TOML file; made anew.
        choice: what it says.
        models: the model folder.
        bundles: that are served, by name.
        head: what it was made by and where, for its first lines.
    """
    chosen = choice.engine.chosen
    sizes = [size for size in (2**power for power in range(16)) if size <= chosen.largest_batch]
    text = f"""\
{_comment(head)}

[models]
directory = {_quoted(str(models))}
load = [{", ".join(map(_quoted, bundles))}]

{_comment(choice.engine.reason)}
[engine]
engine = "{chosen.engine}"
precision = "{chosen.precision}"
threads = {chosen.threads}

[scheduler]
batch_sizes = {sizes}

[archive]
frames_in_flight = {_IN_FLIGHT_BATCHES * chosen.largest_batch}

{_comment(choice.workers_reason)}
[video]
decode_workers = {choice.workers}
"""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
        load_config(unfinished)


def _comment(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="# ", subsequent_indent="# ")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is one of TOML, too

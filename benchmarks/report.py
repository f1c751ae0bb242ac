"""What every benchmark prints at its end: a table for people, one line of JSON for machines."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]


def machine() -> dict[str, object]:
    """Processor, cores and Python of this machine."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return {"processor": name, "cores": os.cpu_count(), "python": platform.python_version()}


def commit() -> str:
    """Return the commit that is measured, with + where files differ from it."""
    try:
        text = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return text.strip()


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile of `values`, or NaN where there are none."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def finish(
    rows: Sequence[tuple[str, str]], result: Mapping[str, object], out: Path | None = None
) -> None:
    """Print the rows, then one line of JSON with machine, commit and command; store it in `out`."""
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        print(f"{label:<{width}}  {value}")
    line = json.dumps(
        {
            **{key: None if _is_nan(value) else value for key, value in result.items()},
            "machine": machine(),
            "commit": commit(),
            "command": " ".join(["python -m", *_command()]),
        }
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(line + "\n")
    print(line)


def _command() -> list[str]:
    module = Path(sys.argv[0]).resolve()
    if module.is_relative_to(REPOSITORY):
        name = ".".join(module.relative_to(REPOSITORY).with_suffix("").parts)
        return [name, *sys.argv[1:]]
    return sys.argv


def _is_nan(value: object) -> bool:
    """Whether a figure was not measured: JSON has no NaN."""
    return isinstance(value, float) and math.isnan(value)

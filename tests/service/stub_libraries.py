"""Stands in for the libraries of NVIDIA's driver, so that what is linked to them can be loaded."""

import shutil
import subprocess
from pathlib import Path

import pytest


def build_stub(folder: Path, name: str, source: Path | str) -> None:
    """Compile C, from a file or a text, into a library called `name`."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler; run .ci/packages, or install gcc")
    if isinstance(source, str):
        text, source = source, folder / f"{name}.c"
        source.write_text(text)
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", str(source)]
    subprocess.run([*command, "-o", str(folder / name)], check=True, capture_output=True)


def needed_functions(library: Path, prefix: str) -> list[str]:
    """Names with a prefix that a library looks for in others."""
    command = ["nm", "--dynamic", "--undefined-only", str(library)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = (line.split()[-1] for line in listed.splitlines())
    return sorted({name for name in found if name.startswith(prefix)})

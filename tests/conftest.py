"""What a test may need of the machine: the train extra, real data, a GPU, patience."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long tests, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {
        "needs_train": (
            find_spec("torch") is None,
            "torch is not installed; run `uv sync --extra cpu --extra train`",
        ),
        "real_data": (not SHARED_DATA.is_dir(), "there is no shared/data beside the checkout"),
        "needs_gpu": (
            not has_gpu() and not os.environ.get("REQUIRE_GPU"),
            "there is no CUDA device; REQUIRE_GPU=1 makes this a failure",
        ),
        "full": (not config.getoption("--full"), "a long test; run `make test-full`"),
    }
    for item in items:
        for mark, (absent, reason) in skips.items():
            if absent and item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def has_gpu() -> bool:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False)
    except OSError:
        return False
    return listed.returncode == 0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled data; tests that use it carry the mark `real_data`."""
    return SHARED_DATA

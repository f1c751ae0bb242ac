"""A bundle that is loaded is loaded again when its files were replaced, and serves meanwhile."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.engine import FakeEngine
from service.errors import BundleInvalid
from service.repository import BundleState, EngineConfig, Repository

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "models"
NAME = "openfield-mouse"


@pytest.fixture
async def repository(tmp_path) -> Repository:
    """A repository of one loaded bundle, computed by ONNX Runtime."""
    shutil.copytree(SHIPPED / NAME, tmp_path / NAME)
    config = EngineConfig(engine="onnxruntime", threads=1)
    opened = Repository(tmp_path, config, (1,))
    await opened.load(NAME)
    return opened


def edit_manifest(folder: Path, **fields: object) -> None:
    (path,) = folder.glob("*/*/bundle.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


async def test_an_unchanged_bundle_is_not_loaded_twice(repository):
    assert await repository.load(NAME) is repository.get(NAME)


async def test_a_replaced_manifest_is_taken_up(repository, tmp_path):
    before = repository.get(NAME)
    edit_manifest(tmp_path, description="with engines")
    after = await repository.load(NAME)
    assert after is repository.get(NAME)
    assert after.bundle.manifest.description == "with engines"
    assert after.manifest_sha256 != before.manifest_sha256


async def test_a_damaged_replacement_is_refused_and_the_old_one_serves(repository, tmp_path):
    before = repository.get(NAME)
    edit_manifest(tmp_path, graphs={})
    with pytest.raises(BundleInvalid, match="lacks the graph pose"):
        await repository.load(NAME)
    assert repository.get(NAME) is before
    status = repository.status(NAME)
    assert status.state is BundleState.READY
    assert "lacks the graph pose" in status.reason


class CountingEngine(FakeEngine):
    """Answers with the number of rows that it is given."""

    def run(self, inputs):
        return {"keypoints": np.full((len(inputs["frames"]), 1, 13, 3), len(inputs["frames"]))}


@pytest.mark.parametrize(("engine", "is_steady"), [(FakeEngine, True), (CountingEngine, False)])
async def test_it_is_found_out_whether_answers_depend_on_the_size_of_the_batch(engine, is_steady):
    repository = Repository(
        SHIPPED, EngineConfig(engine="onnxruntime"), (1, 4), create=lambda *_, **__: engine()
    )
    loaded = await repository.load(NAME)
    assert loaded.graphs["pose"].is_steady is is_steady

"""A bundle that is loaded is loaded again when its files were replaced, and serves meanwhile."""

import asyncio
import json
import shutil
import threading
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


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
async def test_a_version_that_computes_nothing_leaves_the_one_before_it(engine, tmp_path):
    (first,) = (SHIPPED / NAME).iterdir()
    for version in (1, 2):
        shutil.copytree(first, tmp_path / NAME / str(version))
    path = tmp_path / NAME / "2" / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["input"]["width_px"] += 32  # its graph takes no such frames
    path.write_text(json.dumps({**manifest, "version": 2}))
    opened = Repository(tmp_path, EngineConfig(engine=engine, threads=1), (1,))
    await opened.scan()
    await opened.load_newest_valid(NAME)
    assert opened.get(NAME).bundle.version == 1
    refused = opened.status(NAME, 2)
    assert refused.state is BundleState.FAILED
    assert "the graph pose of openfield-mouse@2 cannot be loaded" in refused.reason


async def test_who_asks_for_a_bundle_and_goes_away_leaves_it_as_it_was(tmp_path):
    shutil.copytree(SHIPPED / NAME, tmp_path / NAME)
    begun, goes_on = threading.Event(), threading.Event()

    def create(*_, **__):
        begun.set()
        goes_on.wait(60)
        raise RuntimeError("nobody waits for this")

    opened = Repository(tmp_path, EngineConfig(), (1,), create=create)
    loading = asyncio.create_task(opened.load(NAME))
    assert await asyncio.to_thread(begun.wait, 60)
    assert opened.status(NAME).state is BundleState.LOADING
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert opened.status(NAME).state is BundleState.AVAILABLE
    goes_on.set()


async def test_a_bundle_that_goes_while_it_is_loaded_is_told_as_failed(tmp_path):
    shutil.copytree(SHIPPED / NAME, tmp_path / NAME)

    def create(*_, **__):
        shutil.rmtree(tmp_path / NAME)
        return CountingEngine()

    opened = Repository(tmp_path, EngineConfig(), (1,), create=create)
    with pytest.raises(FileNotFoundError):
        await opened.load(NAME)
    assert opened.status(NAME).state is BundleState.FAILED


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

"""Engines are entered into a bundle as a whole or not at all, and refused when they do not fit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from export.engines.bundle import build_engines
from service.bundle import file_sha256, read_bundle, write_manifest
from service.engine import choose_engine
from service.errors import BundleInvalid, EngineUnavailable, InvalidConfig
from tests.conftest import has_gpu

pytest.importorskip("tensorrt_rtx_bindings", reason="uv sync --inexact --extra tensorrt-rtx")

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"
COMMAND = (sys.executable, "-m", "ethostream.commands", "export")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The shipped pose bundle with its engine of TensorRT-RTX, by the command."""
    directory = tmp_path_factory.mktemp("models") / "openfield-mouse" / "1"
    shutil.copytree(SHIPPED / "openfield-mouse" / "1", directory)
    done = subprocess.run(
        [*COMMAND, str(directory), "--engine", "tensorrt-rtx", "--batch-sizes", "1", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pose.fp32.tensorrt-rtx-" in done.stdout
    return directory


@pytest.fixture
def folder(built, tmp_path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(built, tmp_path / "1"))


def edit_engine(directory: Path, **fields: object) -> None:
    path = directory / "bundle.json"
    content = json.loads(path.read_text())
    content["engines"][0].update(fields)
    path.write_text(json.dumps(content))


def test_the_bundle_names_its_engine_with_source_version_gpu_and_profiles(built):
    bundle = read_bundle(built)
    (entry,) = bundle.manifest.engines
    assert (entry.runtime, entry.graph, entry.precision) == ("tensorrt-rtx", "pose", "fp32")
    assert entry.source_sha256 == file_sha256(built / "pose.onnx")
    assert entry.file.sha256 == file_sha256(built / entry.file.path)
    assert entry.batch_sizes == (1, 4)
    assert "sm_89" in entry.gpu.split()
    import tensorrt_rtx_bindings

    assert entry.runtime_version == tensorrt_rtx_bindings.__version__
    unbuilt = read_bundle(SHIPPED / "openfield-mouse" / "1").manifest
    assert bundle.manifest.graphs == unbuilt.graphs
    assert bundle.manifest.precisions == unbuilt.precisions


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_auto_computes_on_the_cpu_and_the_engine_by_name_is_refused(built):
    manifest = read_bundle(built).manifest
    assert choose_engine(manifest, "auto", "fp32") == ("openvino", "fp32")
    with pytest.raises(EngineUnavailable, match="no usable GPU here"):
        choose_engine(manifest, "tensorrt-rtx", "auto")


def test_only_named_files_are_left_in_the_folder(built):
    bundle = read_bundle(built)
    named = {"bundle.json", *(entry.path for entry in bundle.manifest.files)}
    assert {path.name for path in built.iterdir()} == named


def test_a_second_build_replaces_the_first(folder):
    again = build_engines(folder, runtime="tensorrt-rtx", batch_sizes=(2, 2, 1))
    (entry,) = again.manifest.engines
    assert entry.batch_sizes == (1, 2)


def test_what_an_earlier_build_passed_is_forgotten(folder):
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    content["precisions"]["tensorrt-rtx"] = ["fp16", "fp32"]
    path.write_text(json.dumps(content))
    again = build_engines(folder, runtime="tensorrt-rtx", precision="fp16", batch_sizes=(1,))
    assert again.manifest.precisions["tensorrt-rtx"] == ("fp32",)
    again = build_engines(folder, runtime="tensorrt-rtx", batch_sizes=(1,))
    assert "tensorrt-rtx" not in again.manifest.precisions


def test_leftovers_of_earlier_builds_are_removed(folder):
    stale = folder / "pose.fp32.tensorrt-rtx-1.0.0.deadbeef.engine"
    stale.write_bytes(b"of an earlier build")
    build_engines(folder, runtime="tensorrt-rtx", batch_sizes=(1,))
    assert not stale.exists()


def test_a_damaged_engine_is_refused(folder):
    path = next(folder.glob("*.engine"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleInvalid, match=r"\.engine of bundle openfield-mouse has SHA-256"):
        read_bundle(folder)


def test_a_missing_engine_is_refused(folder):
    next(folder.glob("*.engine")).unlink()
    with pytest.raises(BundleInvalid, match=r"lacks the file pose\.fp32\.tensorrt-rtx"):
        read_bundle(folder)


def test_an_engine_of_another_graph_is_refused(folder):
    edit_engine(folder, source_sha256="f" * 64)
    with pytest.raises(BundleInvalid, match="was built from a graph with SHA-256 ffffffffffff…"):
        read_bundle(folder)


def test_an_engine_of_a_graph_that_the_bundle_lacks_is_refused(folder):
    edit_engine(folder, graph="flow")
    with pytest.raises(BundleInvalid, match="an engine of 'flow', which is none of its graphs pos"):
        read_bundle(folder)


def test_a_refused_build_leaves_the_bundle_as_it_was(folder):
    before = (folder / "bundle.json").read_bytes()
    (folder / "pose.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleInvalid, match=r"pose.onnx of bundle openfield-mouse has SHA-256"):
        build_engines(folder, runtime="tensorrt-rtx")
    assert (folder / "bundle.json").read_bytes() == before
    assert not (folder / ".building").exists()


def test_a_folder_in_which_another_build_is_at_work_is_left_alone(folder):
    (folder / ".building").touch()
    with pytest.raises(InvalidConfig, match="another build is at work"):
        build_engines(folder, runtime="tensorrt-rtx")


def test_an_fp16_engine_stands_beside_the_fp32_one(folder):
    built_too = build_engines(folder, runtime="tensorrt-rtx", precision="fp16", batch_sizes=(1,))
    first, second = built_too.manifest.engines
    assert (first.precision, second.precision) == ("fp32", "fp16")
    assert second.source_sha256 == first.source_sha256
    assert second.file.size_bytes < 0.7 * first.file.size_bytes


def test_int8_engines_need_int8_graphs(folder):
    manifest = read_bundle(folder).manifest
    write_manifest(folder, msgspec.structs.replace(manifest, quantized={}))
    with pytest.raises(InvalidConfig, match="has no int8 graph"):
        build_engines(folder, runtime="tensorrt-rtx", precision="int8")


def test_batches_without_rows_are_refused(folder):
    with pytest.raises(InvalidConfig, match="give whole numbers from 1"):
        build_engines(folder, runtime="tensorrt-rtx", batch_sizes=(0, 4))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([str(SHIPPED / "openfield-mouse" / "1")], "is a bundle; give --engine"),
        ([str(SHIPPED), "--engine", "tensorrt-rtx"], "is no bundle; to export a run give --out"),
    ],
)
def test_the_command_tells_a_run_from_a_bundle(arguments, reason):
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert reason in done.stderr


def test_an_int8_engine_is_built_of_the_int8_graph(folder):
    manifest = build_engines(
        folder, runtime="tensorrt-rtx", precision="int8", batch_sizes=(1,)
    ).manifest
    (entry,) = [one for one in manifest.engines if one.precision == "int8"]
    assert entry.graph == "pose"
    assert entry.source_sha256 == manifest.quantized["pose"].sha256

from pathlib import Path

import pytest

from export.parity import ParityReport, ParityRow
from export.write_bundle import BundleDraft, bundle_size_bytes, write_bundle
from service.bundle import InputSpec, PoseSpec, Provenance, find_bundles
from service.errors import BundleInvalid, InvalidConfig


def make_draft(folder: Path, content: bytes = b"graph", **changes: object) -> BundleDraft:
    path = folder / "exported.onnx"
    path.write_bytes(content)
    row = ParityRow(
        engine="onnxruntime", engine_version="1", precision="fp32", passed=True, figures={}
    )
    values: dict[str, object] = {
        "task": "pose",
        "description": "",
        "input": InputSpec(width_px=64, height_px=64, color="rgb", fit="letterbox"),
        "pose": PoseSpec(keypoints=("snout",)),
        "graphs": {"pose": path},
        "parity": ParityReport(reference="torch fp32", samples=1, gate="", rows=(row,)),
        "card": "# Card\n",
        "split": b"{}",
        "provenance": Provenance(
            run="r", code_commit="c", data="d", data_sha256="e", license="Apache-2.0"
        ),
    }
    return BundleDraft(**(values | changes))


def test_a_written_bundle_holds_its_files_and_versions_count_up(tmp_path: Path) -> None:
    models = tmp_path / "models"
    first = write_bundle(models, "mouse", make_draft(tmp_path), version=None)
    assert first.graph_path("pose").read_bytes() == b"graph"
    assert first.document("card") == "# Card\n"
    assert first.document("split") == "{}"
    assert first.manifest.precisions == {"onnxruntime": ("fp32",)}
    assert bundle_size_bytes(first) == sum(
        path.stat().st_size for path in first.directory.iterdir() if path.name != "bundle.json"
    )
    assert write_bundle(models, "mouse", make_draft(tmp_path), version=None).version == 2
    assert sorted(find_bundles(models)["mouse"]) == [1, 2]


def test_int8_graphs_go_along_and_count(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(b"quantized")
    models = tmp_path / "models"
    plain = write_bundle(models, "plain", make_draft(tmp_path), version=None)
    bundle = write_bundle(
        models, "mouse", make_draft(tmp_path, quantized={"pose": path}), version=1
    )
    assert bundle.graph_path("pose", "int8").read_bytes() == b"quantized"
    assert bundle.graph_path("pose", "int8").name == "pose.int8.onnx"
    assert bundle.graph_path("pose").read_bytes() == b"graph"
    assert bundle_size_bytes(bundle) == bundle_size_bytes(plain) + len(b"quantized")


def test_an_existing_version_is_only_replaced_on_request(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_bundle(models, "mouse", make_draft(tmp_path), version=3)
    newer = make_draft(tmp_path, b"newer")
    with pytest.raises(InvalidConfig, match="--replace"):
        write_bundle(models, "mouse", newer, version=3)
    replaced = write_bundle(models, "mouse", newer, version=3, replace=True)
    assert replaced.graph_path("pose").read_bytes() == b"newer"
    assert [path.name for path in (models / "mouse").iterdir()] == ["3"]


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", ".."])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfig, match="is not a bundle name"):
        write_bundle(tmp_path / "models", name, make_draft(tmp_path), version=None)


def test_a_draft_that_makes_no_bundle_leaves_nothing_behind(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with pytest.raises(BundleInvalid):
        write_bundle(models, "mouse", make_draft(tmp_path, pose=None), version=None)
    assert not list(models.rglob("*.*"))

"""Only complete bundles with matching hashes are read."""

import json
from pathlib import Path

import msgspec
import pytest

from service.bundle import (
    BehaviorSpec,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    describe_file,
    find_bundles,
    read_bundle,
    write_manifest,
)
from service.errors import BundleInvalid, BundleNotFound


def write_pose_bundle(folder: Path, *, name: str = "mouse", version: int = 1) -> Path:
    directory = folder / name / str(version)
    directory.mkdir(parents=True)
    (directory / "pose.onnx").write_bytes(b"a graph")
    manifest = Manifest(
        name=name,
        version=version,
        task="pose",
        description="for this test",
        input=InputSpec(width_px=64, height_px=48, color="rgb", fit="stretch"),
        pose=PoseSpec(keypoints=("snout", "tailbase")),
        graphs={"pose": describe_file(directory, "pose.onnx")},
        provenance=Provenance(
            run="test", code_commit="none", data="none", data_sha256="", license="Apache-2.0"
        ),
    )
    write_manifest(directory, manifest)
    return directory


def edit(directory: Path, change) -> None:
    path = directory / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_written_bundle_is_read_back(tmp_path):
    bundle = read_bundle(write_pose_bundle(tmp_path))
    assert (bundle.name, bundle.version) == ("mouse", 1)
    assert bundle.manifest.pose.keypoints == ("snout", "tailbase")
    assert bundle.graph_path("pose").read_bytes() == b"a graph"


def test_an_int8_graph_is_taken_for_int8_only_and_its_hash_is_checked(tmp_path):
    directory = write_pose_bundle(tmp_path)
    (directory / "pose.int8.onnx").write_bytes(b"an int8 graph")
    entry = msgspec.to_builtins(describe_file(directory, "pose.int8.onnx"))
    edit(directory, lambda content: content.update(quantized={"pose": entry}))
    bundle = read_bundle(directory)
    assert bundle.graph_path("pose", "int8").read_bytes() == b"an int8 graph"
    assert bundle.graph_path("pose", "bf16").read_bytes() == b"a graph"
    (directory / "pose.int8.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleInvalid, match="SHA-256"):
        read_bundle(directory)


def test_an_int8_graph_of_a_graph_that_is_not_there_is_refused(tmp_path):
    directory = write_pose_bundle(tmp_path)
    entry = msgspec.to_builtins(describe_file(directory, "pose.onnx"))
    edit(directory, lambda content: content.update(quantized={"flow": entry}))
    with pytest.raises(BundleInvalid, match="an int8 graph or an engine of 'flow'"):
        read_bundle(directory)


def test_versions_are_found_by_name_and_hidden_folders_are_not(tmp_path):
    write_pose_bundle(tmp_path, version=1)
    newest = write_pose_bundle(tmp_path, version=12)
    write_pose_bundle(tmp_path / ".partial", name="mouse", version=2)
    assert find_bundles(tmp_path) == {"mouse": {1: newest.parent / "1", 12: newest}}


def test_a_model_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BundleNotFound, match="nowhere"):
        find_bundles(tmp_path / "nowhere")


def test_a_changed_file_is_refused(tmp_path):
    directory = write_pose_bundle(tmp_path)
    (directory / "pose.onnx").write_bytes(b"A graph")
    with pytest.raises(BundleInvalid, match=r"pose\.onnx .* SHA-256 .* copy it again"):
        read_bundle(directory)


def test_a_missing_file_is_refused(tmp_path):
    directory = write_pose_bundle(tmp_path)
    (directory / "pose.onnx").unlink()
    with pytest.raises(BundleInvalid, match=r"lacks the file pose\.onnx"):
        read_bundle(directory)


def test_a_file_outside_the_folder_is_refused(tmp_path):
    directory = write_pose_bundle(tmp_path)
    (tmp_path / "secret").write_bytes(b"a graph")
    edit(directory, lambda content: content["graphs"]["pose"].update(path="../../secret"))
    with pytest.raises(BundleInvalid, match="outside its folder"):
        read_bundle(directory)


def test_a_link_that_leads_outside_is_refused(tmp_path):
    directory = write_pose_bundle(tmp_path)
    (tmp_path / "secret").write_bytes(b"a graph")
    (directory / "pose.onnx").unlink()
    (directory / "pose.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleInvalid, match="outside its folder"):
        read_bundle(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format_version=99), "format 99"),
        (lambda content: content.update(surprise=1), "surprise"),
        (lambda content: content.update(version="one"), "version"),
        (lambda content: content["input"].update(width_px=63), "63x48"),
        (lambda content: content.update(task="behavior"), "section `behavior`"),
        (lambda content: content.update(graphs={}), "lacks the graph pose"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_reason(tmp_path, change, message):
    directory = write_pose_bundle(tmp_path)
    edit(directory, change)
    with pytest.raises(BundleInvalid, match=message):
        read_bundle(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": (0.5,)}, "2 behaviors, 1 thresholds"),
        ({"exclusive": True}, "`background` first"),
        ({"frame_rate_hz": 0.0}, "frame_rate_hz is 0"),
    ],
)
def test_a_behavior_section_must_agree_with_itself(changes, message):
    settings = {
        "behaviors": ("rearing", "grooming"),
        "exclusive": False,
        "thresholds": (0.5, 0.5),
        "min_bout_frames": (1, 1),
        "frame_rate_hz": 30.0,
        "flow_frames": 4,
        "past_frames": 4,
        "future_frames": 0,
        "feature_size": 8,
        "state_size": 8,
    }
    with pytest.raises(BundleInvalid, match=message):
        BehaviorSpec(**{**settings, **changes})

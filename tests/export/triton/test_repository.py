"""Repositories are read as Triton reads them (its own protobuf) and compared with the graphs."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from export.triton.repository import write_triton_repository
from service.bundle import (
    BehaviorSpec,
    Bundle,
    InputSpec,
    Manifest,
    Provenance,
    describe_file,
    file_sha256,
    find_bundles,
    read_bundle,
    write_manifest,
)
from service.errors import InvalidConfig
from service.graph_inputs import BATCH_SIZES

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "models"
BUNDLES = [versions[max(versions)] for versions in find_bundles(SHIPPED).values()]
TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
ARRAYS = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}

FLOW = """<ir_version: 8, opset_import: ["": 18]>
flow (uint8[batch, 3, 16, 16, 1] frames) => (float[batch, 2, 2, 8, 8] flows)
<int64[1] last = {-1}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2},
 int64[1] three = {3}>
{
  pixels = Cast<to = 1>(frames)
  images = Squeeze(pixels, last)
  small = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(images)
  before = Slice(small, zero, two, one)
  after = Slice(small, one, three, one)
  change = Sub(after, before)
  x = Unsqueeze(change, two)
  y = Neg(x)
  flows = Concat<axis = 2>(x, y)
}"""
FEATURES = """<ir_version: 8, opset_import: ["": 18]>
features (uint8[batch, FRAMES16, 16, 1] frames, float[batch, 2, 2, 8, 8] flows)
  => (float[batch, 4] features, float[batch, 2] logits)
<int64[1] one = {1}, int64[1] three = {3}, int64[2] shape = {0, -1}>
{
  pixels = Cast<to = 1>(frames)
  flat = Reshape(pixels, shape)
  bright = ReduceMax<keepdims = 1>(flat, one)
  motion = Reshape(flows, shape)
  fast = ReduceMax<keepdims = 1>(motion, one)
  slow = ReduceMin<keepdims = 1>(motion, one)
  features = Concat<axis = 1>(bright, fast, slow, bright)
  logits = Slice(features, one, three, one)
}"""


def write_windowed_bundle(directory: Path, *, feature_frames: int, precisions=("fp32",)) -> Bundle:
    """A behavior bundle whose flow graph takes the whole window of three frames."""
    directory.mkdir(parents=True)
    features = FEATURES.replace("FRAMES", "3, " if feature_frames == 3 else "")
    for name, text in (("flow", FLOW), ("features", features)):
        onnx.save(onnx.parser.parse_model(text), directory / f"{name}.onnx")
    (directory / "features.int8.onnx").write_bytes((directory / "features.onnx").read_bytes())
    manifest = Manifest(
        name="tiny",
        version=7,
        task="behavior",
        description='A "tiny" one with a \\ in its words',
        input=InputSpec(width_px=16, height_px=16, color="gray", fit="stretch"),
        behavior=BehaviorSpec(
            behaviors=("run", 'say "höhö" \\'),
            exclusive=False,
            thresholds=(0.5, 0.25),
            min_bout_frames=(1, 2),
            frame_rate_hz=30.0,
            flow_frames=2,
            past_frames=1,
            future_frames=1,
            flow_input_frames=3,
            feature_input_frames=feature_frames,
            window_fill=(9,),
            sequence="none",
            feature_size=4,
            state_size=0,
        ),
        graphs={name: describe_file(directory, f"{name}.onnx") for name in ("flow", "features")},
        quantized={"features": describe_file(directory, "features.int8.onnx")},
        precisions={"onnxruntime": precisions},
        provenance=Provenance(
            run="r", code_commit="c", data="d", data_sha256="e", license="Apache-2.0"
        ),
    )
    write_manifest(directory, manifest)
    return read_bundle(directory)


def read_config(folder: Path) -> ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())


def read_models(out: Path) -> dict[str, ModelConfig]:
    return {path.parent.name: read_config(path.parent) for path in out.glob("*/config.pbtxt")}


def open_session(out: Path, model: str) -> onnxruntime.InferenceSession:
    (path,) = (out / model).glob("*/model.onnx")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def make_inputs(config: ModelConfig, rows: int, any_size: int = 3) -> dict[str, np.ndarray]:
    """Noise in the types and sizes that a config states, as a client would send it."""
    random = np.random.default_rng(0)
    inputs = {}
    for one in config.input:
        shape = (rows, *(any_size if size == -1 else size for size in one.dims))
        dtype = ARRAYS[DataType.Name(one.data_type)]
        noise = random.integers(0, 256, shape) if dtype is np.uint8 else random.normal(size=shape)
        inputs[one.name] = noise.astype(dtype)
    return inputs


@pytest.mark.parametrize("directory", BUNDLES, ids=lambda path: path.parent.name)
def test_configs_of_the_shipped_bundles_state_what_their_graphs_take_and_give(
    directory: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(directory)
    out = tmp_path / "triton"
    written = write_triton_repository(bundle, out)
    configs = read_models(out)
    assert sorted(configs) == sorted(one.name for one in written)
    for name, config in configs.items():
        assert config.name == name
        assert config.backend == "onnxruntime"
        assert config.max_batch_size == max(BATCH_SIZES)
        assert tuple(config.dynamic_batching.preferred_batch_size) == BATCH_SIZES
        session = open_session(out, name)
        for stated, held in (
            (config.input, session.get_inputs()),
            (config.output, session.get_outputs()),
        ):
            assert [
                (one.name, DataType.Name(one.data_type), tuple(one.dims)) for one in stated
            ] == [
                (
                    node.name,
                    TYPES[node.type],
                    tuple(size if isinstance(size, int) else -1 for size in node.shape[1:]),
                )
                for node in held
            ]
            assert not any(isinstance(node.shape[0], int) for node in held)  # the batch axis


@pytest.mark.parametrize("directory", BUNDLES, ids=lambda path: path.parent.name)
def test_graphs_of_the_shipped_bundles_answer_what_their_configs_allow(
    directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "triton"
    write_triton_repository(read_bundle(directory), out)
    for name, config in read_models(out).items():
        session = open_session(out, name)
        for rows in (1, 3):
            answers = session.run([one.name for one in config.output], make_inputs(config, rows))
            for one, answer in zip(config.output, answers, strict=True):
                dims = tuple(3 if size == -1 else size for size in one.dims)
                assert answer.shape == (rows, *dims)
                assert answer.dtype == ARRAYS[DataType.Name(one.data_type)]


def shipped(name: str) -> Bundle:
    versions = find_bundles(SHIPPED)[name]
    return read_bundle(versions[max(versions)])


def test_models_of_a_pose_bundle_tell_what_they_are(tmp_path: Path) -> None:
    bundle = shipped("openfield-mouse")
    spec = bundle.manifest.input
    out = tmp_path / "triton"
    write_triton_repository(bundle, out)
    precisions = {"openfield-mouse": "fp32"}
    if "int8" in bundle.manifest.precisions["onnxruntime"]:
        precisions["openfield-mouse-int8"] = "int8"
    configs = read_models(out)
    assert sorted(configs) == sorted(precisions)
    for name, precision in precisions.items():
        parameters = {key: one.string_value for key, one in configs[name].parameters.items()}
        graph = out / name / str(bundle.version) / "model.onnx"
        assert parameters["graph_sha256"] == file_sha256(graph)
        assert graph.read_bytes() == bundle.graph_path("pose", precision).read_bytes()
        assert parameters["precision"] == precision
        assert (parameters["bundle"], parameters["bundle_version"]) == (
            "openfield-mouse",
            str(bundle.version),
        )
        assert parameters["keypoints"].split(",") == list(bundle.manifest.pose.keypoints)
        assert (parameters["color"], parameters["fit"]) == (spec.color, spec.fit)


def test_behavior_graphs_name_their_behaviors_and_have_no_ensemble_where_flows_are_shared(
    tmp_path: Path,
) -> None:
    bundle = shipped("openfield-activity")
    assert bundle.manifest.behavior.flow_input_frames == 2 < bundle.manifest.behavior.flow_frames
    out = tmp_path / "triton"
    write_triton_repository(bundle, out)
    configs = read_models(out)
    names = {f"openfield-activity-{graph}" for graph in bundle.manifest.graph_names}
    assert {name for name in configs if not name.endswith("-int8")} == names
    features = configs["openfield-activity-features"]
    labels = {one.name: one.label_filename for one in features.output}
    assert labels == {"features": "", "logits": "labels.txt"}
    text = (out / features.name / "labels.txt").read_text()
    assert tuple(text.splitlines()) == bundle.manifest.behavior.behaviors
    for graph in ("flow", "sequence"):  # a sequence answers several frames at once
        assert not (out / f"openfield-activity-{graph}" / "labels.txt").exists()
    assert "so there is none" in (out / "README.md").read_text()


@pytest.mark.parametrize("feature_frames", [1, 3])
def test_an_ensemble_answers_a_window_as_flow_and_features_after_each_other(
    tmp_path: Path, feature_frames: int
) -> None:
    bundle = write_windowed_bundle(tmp_path / "tiny" / "7", feature_frames=feature_frames)
    out = tmp_path / "triton"
    write_triton_repository(bundle, out)
    configs = read_models(out)
    assert sorted(configs) == ["tiny", "tiny-features", "tiny-flow"]
    ensemble = configs["tiny"]
    assert (ensemble.platform, ensemble.backend) == ("ensemble", "")
    assert (out / "tiny" / "7").is_dir()
    sent = make_inputs(ensemble, rows=2)
    tensors = dict(sent)
    for step in ensemble.ensemble_scheduling.step:
        assert step.model_version == 7
        taken = {one.name for one in configs[step.model_name].input}
        assert taken == set(step.input_map)
        session = open_session(out, step.model_name)
        given = [one.name for one in session.get_outputs()]
        answers = session.run(given, {key: tensors[step.input_map[key]] for key in taken})
        for name, answer in zip(given, answers, strict=True):
            tensors[step.output_map[name]] = answer
    window = sent["frames"].astype(np.float32)[..., 0]
    answered = sent["frames" if feature_frames == 3 else "frame"].astype(np.float32)
    blocks = window.reshape(2, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    fastest = np.abs(np.diff(blocks, axis=1)).reshape(2, -1).max(axis=1)
    brightest = answered.reshape(2, -1).max(axis=1)
    np.testing.assert_allclose(tensors["features"][:, 0], brightest)
    np.testing.assert_allclose(tensors["logits"], np.stack([fastest, -fastest], 1), rtol=1e-6)
    assert {one.name for one in ensemble.output} == {"features", "logits"}
    for one in ensemble.output:
        assert tensors[one.name].shape == (2, *one.dims)


def test_int8_goes_along_only_where_it_passed_on_the_runtime_of_triton(tmp_path: Path) -> None:
    passed = write_windowed_bundle(
        tmp_path / "tiny" / "7", feature_frames=1, precisions=("int8", "fp32")
    )
    out = tmp_path / "triton"
    write_triton_repository(passed, out)
    configs = read_models(out)
    assert {name for name in configs if name.endswith("-int8")} == {
        "tiny-int8",
        "tiny-features-int8",
    }
    steps = configs["tiny-int8"].ensemble_scheduling.step
    assert [one.model_name for one in steps] == ["tiny-flow", "tiny-features-int8"]
    failed = write_windowed_bundle(tmp_path / "other" / "7", feature_frames=1, precisions=("int8",))
    with pytest.raises(InvalidConfig, match="did not pass its parity gate on onnxruntime"):
        write_triton_repository(failed, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_any_text_survives_the_way_through_the_config(tmp_path: Path) -> None:
    bundle = write_windowed_bundle(tmp_path / "tiny" / "7", feature_frames=1)
    out = tmp_path / "triton"
    write_triton_repository(bundle, out)
    config = read_config(out / "tiny-features")
    assert config.parameters["behaviors"].string_value == ",".join(
        bundle.manifest.behavior.behaviors
    )


def test_an_existing_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "triton"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InvalidConfig, match="triton exists; name a folder that does not"):
        write_triton_repository(shipped("openfield-mouse"), out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_failure_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    copy = shutil.copytree(shipped("openfield-mouse").directory, tmp_path / "mouse" / "1")
    bundle = read_bundle(copy)
    (copy / "CARD.md").unlink()  # after it was read
    with pytest.raises(FileNotFoundError):
        write_triton_repository(bundle, tmp_path / "out" / "triton")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_writes_it_and_tells_what_a_client_does(tmp_path: Path) -> None:
    bundle = shipped("openfield-mouse")
    out = tmp_path / "triton"
    command = [sys.executable, "-m", "ethostream.commands", "export", str(bundle.directory)]
    command += ["--triton", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{out}: openfield-mouse" in done.stdout
    text = (out / "README.md").read_text()
    spec = bundle.manifest.input
    assert f"{spec.height_px} rows of {spec.width_px} px" in text
    for keypoint in bundle.manifest.pose.keypoints:
        assert keypoint in text
    assert (out / "CARD.md").read_text() == bundle.document("card")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "exists; name a folder that does not" in again.stderr

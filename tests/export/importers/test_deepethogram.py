import argparse
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from export.commands import import_
from export.importers.deepethogram import DeepEthogramOptions, draft_bundle, read_model
from export.importers.deepethogram_files import find_files
from export.importers.draft import ImportOptions
from service.bundle import Bundle, InputSpec, read_bundle
from service.engine import create_engine
from service.errors import InvalidConfig
from service.preprocess import to_model_input
from service.simulation import SimulationSettings, simulate, write_recording
from tests.training.behavior.deepethogram_reference import (
    MEAN,
    STD,
    feature_answers,
    random_features,
    random_sequence,
    sequence_answers,
    tiny_motionnet,
)
from tests.training.omegaconf_reference import save_with_omegaconf
from training.behavior.deepethogram_weights import Wiring
from training.behavior.evaluate import predict
from training.data.behavior_frames import Footage, decode_video
from training.data.deepethogram import find_video

pytestmark = pytest.mark.needs_train

NAMES = ("background", "groom", "rear")
SIDE_PX = 64
THRESHOLDS = np.array([[0.5, 0.5, 0.5], [0.2, 0.31, 0.42], [0.6, 0.6, 0.6]])


def import_model(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    import_.configure(parser)
    return import_.run(parser.parse_args(["deepethogram", *(str(one) for one in arguments)]))


@pytest.fixture(scope="module")
def states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return random_features(len(NAMES), seed=1), random_sequence(len(NAMES), seed=2)


@pytest.fixture(scope="module")
def project(
    states: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project with one labelled video and both trainings, as DeepEthogram lays them out."""
    folder = tmp_path_factory.mktemp("deg") / "mice_deepethogram"
    settings = SimulationSettings(width_px=96, height_px=72, duration_s=4.0, frame_rate_hz=10)
    (folder / "DATA" / "one").mkdir(parents=True)
    write_recording(simulate(settings), folder / "DATA" / "one", name="one", codec="mjpeg")
    for path in (folder / "DATA" / "one").iterdir():
        if path.suffix not in (".avi", ".mp4", ".mov", ".mkv") and path.is_file():
            path.unlink()
    rows = ["," + ",".join(NAMES)]
    rows += [f"{t},{int(t < 5)},{int(t >= 5)},{int(5 <= t < 8)}" for t in range(40)]
    (folder / "DATA" / "one" / "one_labels.csv").write_text("\n".join(rows) + "\n")
    statistics = {"N": 100, "mean": list(MEAN), "std": list(STD)}
    config = {
        "project": {"name": "mice", "class_names": list(NAMES), "data_path": "/elsewhere/DATA"},
        "augs": {"resize": [SIDE_PX, SIDE_PX], "normalization": statistics},
    }
    (folder / "project_config.yaml").write_text(yaml.safe_dump(config))
    features, sequence = states
    run = folder / "models" / "250101_000000_feature_extractor_train"
    write_run(run, {"state_dict": features, "epoch": 7, "hyperparameters": {}})
    run = folder / "models" / "250102_000000_sequence_train"
    run.mkdir(parents=True)
    # As Lightning stores it, from the second epoch.
    stored = {f"model.{name}": value for name, value in sequence.items()}
    stored["criterion.weight"] = torch.ones(3)
    (run / "lightning_checkpoints").mkdir()
    path = run / "lightning_checkpoints" / "epoch=1-step=20.ckpt"
    save_with_omegaconf(path, {"state_dict": stored, "epoch": 1}, config)
    with h5py.File(run / "sequence_metrics.h5", "w") as file:
        file["val/metrics_by_threshold/optimum"] = THRESHOLDS
    write_outputs(folder / "DATA" / "one", features, sequence)
    return folder


def write_outputs(folder: Path, features: dict[str, Tensor], sequence: dict[str, Tensor]) -> None:
    """What DeepEthogram would have stored for the video."""
    size = InputSpec(width_px=SIDE_PX, height_px=SIDE_PX, color="rgb", fit="stretch")
    frames = np.stack([to_model_input(one, size)[0] for one in decode_video(video_of(folder))])
    found, logits = feature_answers(features, windows_of(frames))
    with h5py.File(folder / "one_outputs.h5", "w") as file:
        file["resnet18/P"] = logits.sigmoid().numpy()
        file["tgmj/P"] = sequence_answers(sequence, found).sigmoid().numpy()
        file["tgmj/thresholds"] = THRESHOLDS[1]


def video_of(folder: Path) -> Path:
    found = find_video(folder)
    assert found is not None
    return found


def windows_of(frames: np.ndarray) -> Tensor:
    """(T, 11, H, W, 3) of (T, H, W, 3), the mean color beyond the ends."""
    fill = np.empty((5, *frames.shape[1:]), np.uint8)
    fill[:] = [int(one * 255) for one in MEAN]
    padded = torch.from_numpy(np.concatenate([fill, frames, fill]))
    return torch.stack([padded[t : t + 11] for t in range(len(frames))])


def write_run(folder: Path, checkpoint: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def bundle(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    models = tmp_path_factory.mktemp("models")
    assert import_model(project, "--out", models, "--name", "mice", "--most-frames", 4) == 0
    return read_bundle(models / "mice" / "1")


def test_a_project_becomes_a_bundle_without_its_background(bundle: Bundle) -> None:
    spec = bundle.manifest.behavior
    assert spec is not None
    assert spec.behaviors == NAMES[1:]
    assert not spec.exclusive
    assert spec.thresholds == (0.31, 0.42)  # of the epoch that the checkpoint is of
    assert spec.min_bout_frames == (35, 3)
    assert spec.frame_rate_hz == pytest.approx(10.0)
    assert spec.window_fill == tuple(int(one * 255) for one in MEAN)
    assert (spec.past_frames, spec.future_frames) == (5, 5 + 21)
    card = bundle.document("card")
    for text in ("deg_f", "groom 0.31", "sequence_metrics.h5, epoch 1", "quirks"):
        assert text in card
    assert "simulated frames" in bundle.document("parity")


def test_it_is_compared_with_what_deepethogram_stored(bundle: Bundle) -> None:
    metrics = bundle.manifest.provenance.metrics
    assert metrics["original_resnet18_equal_share"] == 1.0
    assert metrics["original_tgmj_equal_share"] == 1.0
    assert "Against DeepEthogram's own answers (one_outputs.h5, tgmj): 100.0% of" in (
        bundle.document("card")
    )


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_its_graphs_answer_as_the_reference_implementation(
    bundle: Bundle, states: tuple[dict[str, Tensor], dict[str, Tensor]], engine: str
) -> None:
    spec = bundle.manifest.behavior
    assert spec is not None
    frames = np.random.default_rng(5).integers(0, 256, (30, SIDE_PX, SIDE_PX, 3), np.uint8)
    windows = windows_of(frames)
    features, logits = feature_answers(states[0], windows)
    wanted = sequence_answers(states[1], features)[:, 1:].numpy()

    graphs = {
        name: create_engine(bundle.graph_path(name), engine=engine, precision="fp32", threads=1)
        for name in bundle.manifest.graph_names
    }
    flows = graphs["flow"].run({"frames": windows.numpy()})["flows"]
    answer = graphs["features"].run({"frames": windows.numpy(), "flows": flows})
    np.testing.assert_allclose(answer["features"], features, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(answer["logits"], logits[:, 1:], rtol=1e-3, atol=1e-3)
    labels = np.zeros((len(frames), 2), np.int8)
    footage = Footage("random", frames, labels, ((0, len(frames)),))
    np.testing.assert_allclose(predict(graphs, footage, spec).logits, wanted, atol=2e-3)


def options(**changes: object) -> DeepEthogramOptions:
    return DeepEthogramOptions(**changes)  # type: ignore[arg-type]


def failure(project: Path, folder: Path, **changes: object) -> str:
    with pytest.raises(InvalidConfig) as caught:
        draft_bundle(project, folder, ImportOptions(most_frames=4), options(**changes))
    return str(caught.value)


def test_missing_and_wrong_tensors_are_named_with_their_shapes(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    name = "flow_generator.xconv3.0.weight"
    features = {key: value for key, value in states[0].items() if key != name}
    path = write_run(tmp_path, {"state_dict": features})
    message = failure(project, tmp_path, features=path)
    assert f"no tensor {name}, of shape (128, 404, 3, 3)" in message
    path = write_run(tmp_path, {"state_dict": states[0] | {name: torch.zeros(128, 400, 3, 3)}})
    message = failure(project, tmp_path, features=path)
    assert "(128, 400, 3, 3), but (128, 404, 3, 3) is expected" in message
    path = write_run(tmp_path, {"state_dict": random_features(4, seed=1)})
    message = failure(project, tmp_path, features=path)
    assert "spatial_classifier.1.weight" in message
    assert "(4, 512), but (3, 512) is expected for the 3 behaviors" in message
    path = write_run(tmp_path, {"state_dict": {"conv1.0.weight": torch.zeros(64, 33, 7, 7)}})
    message = failure(project, tmp_path, features=path)
    assert "no tensor flow_generator.conv1.0.weight" in message
    strange = states[0] | {"flow_generator.conv1.0.weight": torch.zeros(64, 33, 5, 5)}
    path = write_run(tmp_path, {"state_dict": strange})
    assert "(64, 33, 5, 5)" in failure(project, tmp_path, features=path)
    sequence = {key: value for key, value in states[1].items() if not key.startswith("h.")}
    path = write_run(tmp_path, {"state_dict": sequence})
    assert "no tensor h.weight, of shape (128, 1024, 1)" in failure(
        project, tmp_path, sequence=path
    )


def test_a_project_without_what_is_needed_is_told(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no project_config"):
        find_files(tmp_path, features=None, sequence=None, with_sequence=True)
    other = tmp_path / "other_deepethogram"
    other.mkdir()
    config = yaml.safe_load((project / "project_config.yaml").read_text())
    (other / "project_config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InvalidConfig, match="no trained feature_extractor"):
        find_files(other, features=None, sequence=None, with_sequence=True)
    run = other / "models" / "1_feature_extractor"
    write_run(run, torch.load(find(project, "feature_extractor"), weights_only=True))
    message = failure(other, tmp_path)
    assert "no trained sequence" in message
    assert "--no-sequence" in message
    assert "--frame-rate" in failure(other, tmp_path, with_sequence=False)
    message = failure(
        other, tmp_path, with_sequence=False, frame_rate_hz=30.0, thresholds={"fly": 0.2}
    )
    assert "--threshold names fly" in message
    del config["augs"]["normalization"]
    (other / "project_config.yaml").write_text(yaml.safe_dump(config))
    message = failure(other, tmp_path, with_sequence=False, frame_rate_hz=30.0)
    assert "no augs.normalization" in message


def find(project: Path, stage: str) -> Path:
    return next(project.glob(f"models/*{stage}*/**/*.pt"))


def test_a_checkpoint_in_a_project_is_the_feature_extractor_and_the_newest_sequence_goes_with_it(
    project: Path,
) -> None:
    files = find_files(
        find(project, "feature_extractor"), features=None, sequence=None, with_sequence=True
    )
    assert files.folder == project.resolve()
    assert files.features.epoch == 7
    assert files.sequence is not None
    assert files.sequence.epoch == 1
    assert "h.weight" in files.sequence.tensors
    assert "criterion.weight" not in files.sequence.tensors


def random_windows(count: int) -> Tensor:
    shape = (count, 11, SIDE_PX, SIDE_PX, 3)
    return torch.from_numpy(np.random.default_rng(6).integers(0, 256, shape, np.uint8))


def stacked(windows: Tensor) -> Tensor:
    colors = (windows.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return colors.permute(0, 1, 4, 2, 3).flatten(1, 2)


@torch.no_grad()
def test_the_wiring_that_is_not_certain_can_be_chosen(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    windows = random_windows(2)
    for wiring, otherwise in (
        (Wiring(up_flow_factor=1), {"factor": 1}),
        (Wiring(joined="decoder-first"), {"decoder_first": True}),
    ):
        # Flows of the reference are in px of half the size, ours in px of the input.
        model = read_model(project, ImportOptions(), options(wiring=wiring))
        found = model.networks.flow(windows)[0].flatten(1, 2) / 2
        wanted = tiny_motionnet(states[0], "flow_generator.", stacked(windows), **otherwise)
        usual = tiny_motionnet(states[0], "flow_generator.", stacked(windows))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
        assert (wanted - usual).abs().max() > 0.01

    model = read_model(project, ImportOptions(), options(wiring=Wiring(mixes="input-first")))
    features = torch.randn(40, 1024, generator=torch.Generator().manual_seed(3))
    assert model.networks.sequence is not None
    found = model.networks.sequence(features[None], torch.ones(1, 40))[0]
    wanted = sequence_answers(states[1], features, input_first=True)[:, 1:]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - sequence_answers(states[1], features)[:, 1:]).abs().max() > 0.01


@torch.no_grad()
def test_without_quirks_the_networks_are_those_of_the_paper(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    windows = random_windows(2)
    model = read_model(project, ImportOptions(), options(wiring=Wiring(as_trained=False)))
    assert model.networks.features.input_frames == 1
    flows = model.networks.flow(windows)[0]
    _, found = model.networks.features(windows[:, 5], flows)
    _, wanted = feature_answers(states[0], windows, first_channel=15, flow_weight=1.0)
    torch.testing.assert_close(found, wanted[:, 1:], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_norm_behind_the_last_layers_is_folded_into_them(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    random = torch.Generator().manual_seed(4)
    state = {key: value for key, value in states[0].items() if key != "spatial_classifier.1.bias"}
    gain, shift, mean = (torch.randn(3, generator=random) for _ in range(3))
    variance = torch.rand(3, generator=random) + 0.5
    for name, value in zip(
        ("weight", "bias", "running_mean", "running_var"),
        (gain, shift, mean, variance),
        strict=True,
    ):
        state[f"spatial_classifier.2.{name}"] = value
    path = write_run(tmp_path, {"state_dict": state})
    model = read_model(project, ImportOptions(), options(features=path))
    layer = model.networks.features.get_submodule("network.spatial_classifier.1")
    features = torch.randn(5, 512, generator=random)
    scores = features @ states[0]["spatial_classifier.1.weight"].T
    wanted = (scores - mean) / (variance + 1e-5).sqrt() * gain + shift
    torch.testing.assert_close(layer(features), wanted[:, 1:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_exclusive_behaviors_keep_their_background_first(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    path = write_run(tmp_path, {"state_dict": states[0]})
    settings = {"feature_extractor": {"final_activation": "softmax"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    model = read_model(project, ImportOptions(), options(features=path, with_sequence=False))
    assert model.settings.exclusive
    assert model.settings.behaviors == NAMES
    windows = random_windows(1)
    _, found = model.networks.features(windows, model.networks.flow(windows)[0])
    torch.testing.assert_close(found, feature_answers(states[0], windows)[1], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_joined_features_have_one_last_layer(
    project: Path, states: tuple[dict[str, Tensor], dict[str, Tensor]], tmp_path: Path
) -> None:
    last = ("spatial_classifier.1.", "flow_classifier.1.")
    state = {key: value for key, value in states[0].items() if not key.startswith(last)}
    random = torch.Generator().manual_seed(7)
    state["fusion.fc.weight"] = torch.randn(3, 1024, generator=random)
    state["fusion.fc.bias"] = torch.randn(3, generator=random)
    path = write_run(tmp_path, {"state_dict": state})
    model = read_model(project, ImportOptions(), options(features=path))
    assert model.settings.fusion == "concatenate"
    windows = random_windows(1)
    features, found = model.networks.features(windows, model.networks.flow(windows)[0])
    wanted = features @ state["fusion.fc.weight"][1:].T + state["fusion.fc.bias"][1:]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        features, feature_answers(states[0], windows)[0], rtol=1e-3, atol=1e-3
    )

import argparse
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from export import pose, quantize
from export.commands import export
from export.pose import judge_pose
from service.bundle import read_bundle
from service.engine import create_engine
from service.errors import BundleInvalid, InvalidConfig
from tests.export.simplified import removable_nodes
from training.commands import evaluate
from training.data.labels import InvalidLabels
from training.pose import command
from training.pose.evaluate import PosePredictions
from training.pose.trained import TorchEngine, read_graph, read_settings
from training.runs import Run, open_run

pytestmark = pytest.mark.needs_train


def run_command(module: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    module.configure(parser)
    return module.run(parser.parse_args([str(one) for one in arguments]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, simulated_project: Path) -> Run:
    """Two steps of training, then sure of itself: parity is judged on confident points."""
    folder = tmp_path_factory.mktemp("export")
    tiny = (
        "--backbone-weights random --size 96x64 --view-px 64 --views-per-epoch 4 --batch-size 2 "
        "--epochs 1 --threads 2"
    )
    run_command(command, simulated_project, "--out", folder / "runs" / "tiny", *tiny.split())
    run = open_run(folder / "runs" / "tiny")
    path = run.best_checkpoint()
    stored = torch.load(path, weights_only=True)
    stored["state_dict"]["network.head.scores.bias"] += 8
    torch.save(stored, path)
    return run


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle folder of `trained`, made once: tracing the network takes ten seconds."""
    models = tmp_path_factory.mktemp("models")
    about = models / "about.md"
    about.write_text("Finds a small mouse.")
    arguments = ("--out", models, "--name", "tiny", "--about", about, "--license", "Apache-2.0")
    assert run_command(export, trained.directory, *arguments) == 0
    return models / "tiny" / "1"


def test_an_exported_run_is_a_bundle_whose_engines_agree_with_torch(
    trained: Run, exported: Path
) -> None:
    bundle = read_bundle(exported)
    assert bundle.manifest.pose is not None
    assert bundle.manifest.pose.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert "fp32" in bundle.manifest.precisions["onnxruntime"]
    assert "Finds a small mouse." in bundle.document("card")
    rows = json.loads(bundle.document("parity"))["rows"]
    assert {row["engine"] for row in rows} == {"onnxruntime", "openvino"}
    for row in rows:
        assert row["worst_frame"].endswith(".png)")
        assert row["figures"]["reference_error_px"] == pytest.approx(
            bundle.manifest.provenance.metrics["mean_error_px"], abs=1e-3
        )

    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 96, 3), np.uint8)
    expected = TorchEngine(read_graph(trained)).run({"frames": frames})
    for engine in ("onnxruntime", "openvino"):
        loaded = create_engine(
            bundle.graph_path("pose"), engine=engine, precision="fp32", threads=1
        )
        for batch in (frames, frames[:1]):
            answers = loaded.run({"frames": batch})["keypoints"]
            assert answers.shape == (len(batch), 1, 4, 3)
            assert np.abs(answers - expected["keypoints"][: len(batch)]).max() < 0.01


def test_an_exported_run_answers_in_int8_within_the_gate_or_holds_no_int8(exported: Path) -> None:
    bundle = read_bundle(exported)
    report = json.loads(bundle.document("parity"))
    rows = {row["engine"]: row for row in report["rows"] if row["precision"] == "int8"}
    assert set(rows) == {"onnxruntime", "openvino"}
    assert "static quantization of pose" in report["quantization"]
    assert report["quantization"] in bundle.document("card")
    assert ("pose" in bundle.manifest.quantized) == any(row["passed"] for row in rows.values())
    for engine, row in rows.items():
        assert ("int8" in bundle.manifest.precisions[engine]) == row["passed"]
        figures = row["figures"]
        assert figures["median_distance_px"] > 1e-5  # it is another graph than that in float
        within = figures["median_distance_px"] <= 0.5 and figures["error_increase_px"] <= 0.3
        assert row["passed"] == within


def test_an_exported_graph_holds_nothing_to_simplify(exported: Path) -> None:
    assert removable_nodes(exported / "pose.onnx") == []


def test_int8_is_calibrated_on_other_frames_than_it_is_measured_on(trained: Run) -> None:
    calibration = pose.calibration_names(trained)
    assert calibration
    assert not set(calibration) & set(pose.measured_frames(trained)[1])


def test_where_no_frame_is_held_out_the_card_says_so_and_there_is_no_int8(
    trained: Run, tmp_path: Path
) -> None:
    run = open_run(shutil.copytree(trained.directory, tmp_path / "run"))
    split = run.split()
    names = (*split.training, *split.validation, *split.test)
    run.write_split(msgspec.structs.replace(split, training=names, validation=(), test=()))
    assert pose.calibration_names(run) == ()
    draft = pose.draft_bundle(run, tmp_path, data=[], description="", license="", about="")
    assert f"{len(names)} real frames that were trained on (none was held out)" in draft.card
    assert "held-out real frames" not in draft.card
    assert not draft.provenance.metrics
    assert not draft.quantized


def test_int8_that_disagrees_is_told_and_left_out(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "FLOAT_LAYERS", (0,))
    monkeypatch.setattr(pose, "_MEDIAN_PX", 0.0)
    data = [Path(one) for one in trained.config["data"]]
    draft = pose.draft_bundle(
        trained, tmp_path, data=data, description="", license="Apache-2.0", about=""
    )
    failed = [row for row in draft.parity.rows if row.precision == "int8"]
    assert failed
    assert not any(row.passed for row in failed)
    assert draft.quantized == {}
    assert "int8" not in draft.parity.precisions()["openvino"]


def test_evaluating_the_test_frames_gives_the_figures_of_the_bundle(
    trained: Run, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = trained.config["data"][0]
    assert run_command(evaluate, exported, data, "--precision", "fp32", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    stated = read_bundle(exported).manifest.provenance.metrics
    assert {"mean_error_px", "rmse_px", "per_keypoint"} <= set(figures)
    assert figures["mean_error_px"] == pytest.approx(stated["mean_error_px"], abs=0.05)
    assert figures["frames"] == 2


def test_an_existing_version_is_refused_before_anything_is_computed(
    trained: Run, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pose, "draft_bundle", lambda *_, **__: pytest.fail("work was done"))
    models = exported.parents[1]
    with pytest.raises(InvalidConfig, match="--replace"):
        run_command(export, trained.directory, "--out", models, "--name", "tiny", "--version", "1")


def test_a_graph_that_disagrees_with_the_network_is_refused_and_leaves_nothing(
    trained: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(trained.directory, tmp_path / "runs" / "other")
    checkpoint = other / "checkpoints" / "best.ckpt"
    stored = torch.load(checkpoint, weights_only=True)
    stored["state_dict"]["network.head.offsets.bias"] += 0.11  # every point, by 0.8 px of the input
    torch.save(stored, checkpoint)
    monkeypatch.setattr(pose, "export_pose_graph", lambda *_: exported / "pose.onnx")
    with pytest.raises(BundleInvalid, match="disagrees with torch"):
        run_command(export, other, "--out", tmp_path / "models", "--name", "tiny")
    assert not list(tmp_path.rglob("bundle.json"))


def test_data_that_changed_since_the_training_is_refused(
    trained: Run, tmp_path: Path, simulated_project: Path
) -> None:
    other = shutil.copytree(simulated_project, tmp_path / "other")
    table = next(other.rglob("CollectedData_*.csv"))
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    table.with_suffix(".h5").unlink()
    with pytest.raises(InvalidLabels, match="was trained on"):
        run_command(export, trained.directory, "--data", other, "--out", tmp_path, "--name", "tiny")


def predictions(shift_px: float, confidence: float) -> PosePredictions:
    points = np.zeros((10, 1, 2, 2), np.float32)
    points[..., 0] = shift_px
    sure = np.full((10, 1, 2), confidence, np.float32)
    return PosePredictions(points, sure, np.zeros_like(points))


@pytest.mark.parametrize(
    ("precision", "shift_px", "passed"),
    [
        ("fp32", 0.05, True),
        ("fp32", 0.15, False),
        ("bf16", 0.25, True),
        ("int8", 0.25, True),
        ("int8", 0.4, False),
        ("bf16", 0.4, False),  # the labels are at 0, so the error grows by more than 0.3 px
    ],
)
def test_the_gate_has_the_stated_limits(precision: str, shift_px: float, passed: bool) -> None:
    verdict = judge_pose(precision, predictions(0, 0.9), predictions(shift_px, 0.9))
    assert verdict.passed is passed


def test_the_verdict_names_the_frame_that_moved_most() -> None:
    found = predictions(0, 0.9)
    found.keypoints_xy[6, 0, 1] = 3
    names = [f"mouse/img{i}.png" for i in range(10)]
    verdict = judge_pose("int8", predictions(0, 0.9), found, names=names)
    assert verdict.worst_frame == "frame 6 (mouse/img6.png)"
    assert verdict.figures["max_distance_px"] == pytest.approx(np.sqrt(18))
    assert verdict.figures["error_px"] > verdict.figures["reference_error_px"] == 0
    assert judge_pose("int8", predictions(0, 0.9), found).worst_frame == "frame 6"


def test_nothing_passes_where_no_point_is_confident() -> None:
    assert not judge_pose("fp32", predictions(0, 0.1), predictions(0, 0.1)).passed


def test_a_graph_for_several_animals_gives_the_same_rows_in_every_engine(
    trained: Run, tmp_path: Path
) -> None:
    graph = read_graph(trained, animals=3)
    path = pose.export_pose_graph(graph, read_settings(trained), tmp_path / "pose.onnx")
    frames = np.random.default_rng(4).integers(0, 256, (2, 64, 96, 3), np.uint8)
    expected = TorchEngine(graph).run({"frames": frames})["keypoints"]
    assert expected.shape == (2, 3, 4, 3)
    assert (np.diff(expected[..., 2], axis=1) <= 0).all()  # the surest first
    for engine in ("onnxruntime", "openvino"):
        loaded = create_engine(path, engine=engine, precision="fp32", threads=1)
        for batch in (frames, frames[:1]):
            answers = loaded.run({"frames": batch})["keypoints"]
            assert np.abs(answers - expected[: len(batch)]).max() < 0.01


def test_animals_are_refused_where_they_make_no_sense(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="--animals 0 of a pose run"):
        run_command(
            export, trained.directory, "--out", tmp_path, "--name", "tiny", "--animals", "0"
        )

import argparse
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from export import behavior
from export.behavior import judge_behavior
from export.behavior_card import write_card
from export.commands import export
from export.parity import ParityReport, ParityRow
from service.bundle import BehaviorSpec, Bundle, describe_file, read_bundle, write_manifest
from service.engine import create_engine
from service.simulation import SimulationSettings, simulate, write_recording
from tests.export.simplified import removable_nodes
from training.behavior import command
from training.behavior.evaluate import EvaluationOptions, Prediction, evaluate_bundle
from training.behavior.stages import read_networks, read_run_data, read_settings
from training.runs import Run, open_run

pytestmark = pytest.mark.needs_train

TINY = (
    "--size 64x64 --validation mouse1 --test mouse2 --flow-frames 2 --dilations 1 2 --threads 1 "
    "--flow-epochs 1 --flow-samples 16 --features-epochs 1 --features-samples 16 "
    "--sequence-epochs 1 --precision 32-true"
)
Trained = tuple[Run, Bundle, Path]


def run_command(module: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    module.configure(parser)
    return module.run(parser.parse_args([str(one) for one in arguments]))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of one step a stage, and the bundle that it became."""
    folder = tmp_path_factory.mktemp("behavior")
    data = folder / "data"
    for seed in range(3):
        settings = SimulationSettings(
            width_px=96, height_px=72, duration_s=2.4, frame_rate_hz=10, seed=seed
        )
        write_recording(simulate(settings), data, name=f"mouse{seed}", codec="mjpeg")
    run_command(command, data, "--out", folder / "tiny", *TINY.split())
    about = folder / "about.md"
    about.write_text("Watches a small mouse.")
    arguments = ("--out", folder / "models", "--name", "tiny", "--about", about)
    assert run_command(export, folder / "tiny", *arguments, "--license", "Apache-2.0") == 0
    return open_run(folder / "tiny"), read_bundle(folder / "models" / "tiny" / "1"), data


def test_an_exported_run_is_a_bundle_that_the_service_reads(exported: Trained) -> None:
    run, bundle, _ = exported
    spec = bundle.manifest.behavior
    assert spec is not None
    assert spec.behaviors == ("locomotion", "rearing", "grooming", "wall_contact")
    assert not spec.exclusive
    assert (spec.flow_frames, spec.past_frames, spec.future_frames) == (2, 2, 0)
    assert spec.state_size == read_networks(run).sequence.state_size
    assert "fp32" in bundle.manifest.precisions["onnxruntime"]
    card = bundle.document("card")
    for text in ("Watches a small mouse.", "chance macro F1", "| rearing |", "Apache-2.0"):
        assert text in card
    rows = json.loads(bundle.document("parity"))["rows"]
    assert {row["engine"] for row in rows} == {"onnxruntime", "openvino"}


def test_exported_graphs_hold_nothing_to_simplify(exported: Trained) -> None:
    _, bundle, _ = exported
    for graph in bundle.manifest.graph_names:
        assert removable_nodes(bundle.graph_path(graph)) == []


def test_flow_and_features_are_quantized_and_the_sequence_stays_in_float(
    exported: Trained,
) -> None:
    _, bundle, _ = exported
    report = json.loads(bundle.document("parity"))
    rows = {row["engine"]: row for row in report["rows"] if row["precision"] == "int8"}
    assert set(rows) == {"onnxruntime", "openvino"}
    assert "static quantization of features, flow" in report["quantization"]
    for engine, row in rows.items():
        figures = row["figures"]
        assert row["passed"] == (figures["macro_f1_loss"] <= 0.01)
        assert figures["macro_f1_loss"] == pytest.approx(
            figures["reference_macro_f1"] - figures["macro_f1"]
        )
        assert figures["max_logit_difference"] > 1e-5  # these are other graphs than in float
        assert row["worst_frame"].endswith("of mouse2")
        assert ("int8" in bundle.manifest.precisions[engine]) == row["passed"]
    passed = any(row["passed"] for row in rows.values())
    assert set(bundle.manifest.quantized) == ({"flow", "features"} if passed else set())
    assert bundle.graph_path("sequence", "int8") == bundle.graph_path("sequence")


def test_calibration_takes_labelled_stretches_of_other_recordings_than_the_test(
    exported: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, data = exported
    settings = read_settings(run)
    monkeypatch.setattr(behavior, "_CALIBRATION_FRAMES", 20)
    project = read_run_data(settings, [data])
    footage = behavior.calibration_footage(project, run.split(), settings)
    assert {one.name for one in footage} == {"mouse0", "mouse1"}
    assert [len(one.frames) for one in footage] == [10, 10]
    assert [one.clips for one in footage] == [((0, 10),), ((0, 10),)]
    for recording in project.recordings:
        recording.labels[:18] = -1
    later = behavior.calibration_footage(project, run.split(), settings)
    assert all((one.labels[:16] == -1).all() for one in later)
    np.testing.assert_array_equal(later[0].frames[:8], footage[0].frames[2:])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_graphs_give_what_the_networks_give_for_any_batch(
    exported: Trained, engine: str
) -> None:
    run, bundle, _ = exported
    networks = read_networks(run)
    random = np.random.default_rng(1)
    graphs = {
        name: create_engine(bundle.graph_path(name), engine=engine, precision="fp32", threads=1)
        for name in bundle.manifest.graphs
    }
    for batch in (1, 3):
        pairs = random.integers(0, 256, (batch, 2, 64, 64, 1), np.uint8)
        flows = graphs["flow"].run({"frames": pairs})["flows"]
        assert flows.shape == (batch, 1, 2, 32, 32)
        stacks = random.normal(size=(batch, 2, 2, 32, 32)).astype(np.float32)
        answers = graphs["features"].run({"frames": pairs[:, 1], "flows": stacks})
        with torch.no_grad():
            wanted = networks.features(torch.from_numpy(pairs[:, 1]), torch.from_numpy(stacks))
        np.testing.assert_allclose(answers["features"], wanted[0], atol=1e-3)
        np.testing.assert_allclose(answers["logits"], wanted[1], atol=1e-3)


def test_the_sequence_graph_gives_the_same_at_once_and_frame_by_frame(exported: Trained) -> None:
    _, bundle, _ = exported
    spec = bundle.manifest.behavior
    assert spec is not None
    graph = create_engine(
        bundle.graph_path("sequence"), engine="onnxruntime", precision="fp32", threads=1
    )
    features = np.random.default_rng(2).normal(size=(2, 20, spec.feature_size)).astype(np.float32)
    state = np.zeros((2, spec.state_size), np.float32)
    together = graph.run({"features": features, "state": state})
    alone = []
    for frame in range(20):
        answer = graph.run({"features": features[:, frame : frame + 1], "state": state})
        state = answer["next_state"]
        alone.append(answer["logits"])
    np.testing.assert_allclose(np.concatenate(alone, axis=1), together["logits"], atol=1e-4)
    np.testing.assert_allclose(state, together["next_state"], atol=1e-4)


def test_evaluation_goes_through_the_engines_and_has_the_promised_keys(
    exported: Trained, tmp_path: Path
) -> None:
    _, bundle, data = exported
    report = tmp_path / "report"
    options = EvaluationOptions(
        engine="onnxruntime",
        precision="fp32",
        threads=1,
        second_labels=(data,),
        report=report,
        invariance=True,
    )
    figures = evaluate_bundle(bundle, [data], options)
    assert figures["recordings"] == 1
    assert figures["frames"] == 24 - 2
    assert figures["engine"] == "onnxruntime:cpu"
    for key in ("macro_f1", "accuracy", "auroc", "chance_f1", "per_class"):
        assert key in figures
    assert set(figures["per_class"]) == {"locomotion", "rearing", "grooming", "wall_contact"}
    assert figures["second_labeller"]["people"]["macro_f1"] in (1.0, None)  # the same labels
    assert "left-right mirrored" in figures["invariance"]
    json.dumps(figures)
    assert "Ethograms" in (report / "report.html").read_text(encoding="utf-8")
    assert (report / "invariance.png").is_file()


def test_an_imported_bundle_is_measured_on_all_recordings(
    exported: Trained, tmp_path: Path
) -> None:
    _, bundle, data = exported
    folder = shutil.copytree(bundle.directory, tmp_path / "1")
    split = json.loads((folder / "split.json").read_text())
    (folder / "split.json").write_text(
        json.dumps({**split, "training": [], "validation": [], "test": []})
    )
    manifest = bundle.manifest
    documents = {**manifest.documents, "split": describe_file(folder, "split.json")}
    write_manifest(folder, msgspec.structs.replace(manifest, documents=documents))
    options = EvaluationOptions(engine="onnxruntime", precision="fp32")
    figures = evaluate_bundle(read_bundle(folder), [data], options)
    assert figures["part"] == "all"
    assert figures["recordings"] == 3


RUN = BehaviorSpec(
    behaviors=("run",),
    exclusive=False,
    thresholds=(0.5,),
    min_bout_frames=(1,),
    frame_rate_hz=10.0,
    flow_frames=1,
    past_frames=1,
    future_frames=0,
    feature_size=4,
    state_size=4,
)


def test_an_engine_that_answers_otherwise_does_not_pass() -> None:
    labels = (np.arange(100) % 2).astype(np.int8)[:, None]
    logits = np.where(labels == 1, 2.0, -2.0).astype(np.float32)
    logits[0] = np.nan
    wrong = logits.copy()
    wrong[1] = -2.0
    reference = [Prediction("one", logits, labels, ((0, 100),))]
    found = [Prediction("one", wrong, labels, ((0, 100),))]
    assert judge_behavior("fp32", reference, reference, RUN).passed
    verdict = judge_behavior("fp32", reference, found, RUN)
    assert not verdict.passed
    assert verdict.figures["equal_share"] == pytest.approx(98 / 99)
    assert verdict.figures["max_logit_difference"] == pytest.approx(4.0)
    assert verdict.worst_frame == "frame 1 of one"
    assert verdict.figures["macro_f1"] < verdict.figures["reference_macro_f1"] == 1
    for precision in ("bf16", "int8"):
        assert not judge_behavior(precision, reference, found, RUN).passed


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_an_engine_that_answers_no_number_does_not_pass(precision: str) -> None:
    labels = (np.arange(100) % 2).astype(np.int8)[:, None]
    logits = np.where(labels == 1, 2.0, -2.0).astype(np.float32)
    logits[0] = np.nan
    broken = logits.copy()
    broken[10:] = np.inf if precision == "bf16" else np.nan
    reference = [Prediction("one", logits, labels, ((0, 100),))]
    found = [Prediction("one", broken, labels, ((0, 100),))]
    verdict = judge_behavior(precision, reference, found, RUN)
    assert not verdict.passed
    assert verdict.figures == {"frames": 99, "unanswered_frames": 90}
    assert verdict.worst_frame == "frame 10 of one"


def test_a_card_tells_of_an_engine_that_answers_no_number(exported: Trained) -> None:
    run, bundle, _ = exported
    spec = bundle.manifest.behavior
    assert spec is not None
    figures = {"frames": 99.0, "unanswered_frames": 90.0}
    row = ParityRow(
        engine="openvino",
        engine_version="1",
        precision="bf16",
        passed=False,
        figures=figures,
        worst_frame="frame 10 of one",
    )
    parity = ParityReport(reference="torch fp32", samples=99, gate="", rows=(row,))
    card = write_card(run, read_settings(run), spec, [], parity, license="", about="")
    assert "| openvino 1 | bf16 | no | - | - | - | frame 10 of one | -, - |" in card


@pytest.mark.parametrize("positives", [0, 1])
def test_frames_in_which_the_reference_finds_nothing_pass_no_precision_but_fp32(
    positives: int,
) -> None:
    labels = np.zeros((100, 1), np.int8)
    labels[:positives] = 1
    quiet = np.full((100, 1), -2.0, np.float32)
    reference = [Prediction("one", quiet, labels, ((0, 100),))]
    loud = [Prediction("one", -quiet, labels, ((0, 100),))]
    for precision in ("bf16", "int8"):
        assert not judge_behavior(precision, reference, loud, RUN).passed
        assert not judge_behavior(precision, reference, reference, RUN).passed
    assert judge_behavior("fp32", reference, reference, RUN).passed

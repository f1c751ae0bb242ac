import json
from pathlib import Path

import numpy as np
import pytest

from service.bundle import InputSpec, read_bundle
from service.engine import FakeEngine
from service.errors import InvalidConfig
from training.data.frames import Example
from training.data.labels import InvalidLabels
from training.pose.evaluate import (
    EvaluationOptions,
    PosePredictions,
    evaluate_bundle,
    evaluate_run,
    measure_bundle,
    measure_run,
    predict,
    summarize,
)
from training.pose.predictions import FigureOptions
from training.runs import Run

pytestmark = pytest.mark.needs_train

SHIPPED = Path(__file__).parents[3] / "deploy" / "models" / "openfield-mouse" / "1"
OPEN_FIELD = Path("dlc-openfield") / "openfield-Pranav-2018-10-30"
FP32 = {"engine": "onnxruntime", "precision": "fp32", "threads": 2}


def case() -> PosePredictions:
    return PosePredictions(
        keypoints_xy=np.array([[[[3, 4], [0, 0]]], [[[0, 0], [9, 9]]]], np.float32),
        confidence=np.array([[[0.9, 0.2]], [[0.8, 0.9]]], np.float32),
        labelled_xy=np.array([[[[0, 0], [0, 1]]], [[[0, 0], [np.nan, np.nan]]]], np.float32),
    )


def three_animals() -> PosePredictions:
    """Two frames of three animals with two keypoints; the second frame lacks one detection."""
    random = np.random.default_rng(2)
    labels = random.uniform(0, 400, (2, 3, 2, 2)).astype(np.float32)
    found = labels[:, ::-1] + np.array([2, 0], np.float32)  # rows in another order
    confidence = np.full((2, 3, 2), 0.9, np.float32)
    confidence[1, 2, 1] = 0
    return PosePredictions(found, confidence, labels)


def test_figures_are_those_of_a_hand_computed_case() -> None:
    figures = summarize(case(), ("snout", "tail"), 0.6)
    assert figures["points"] == 3
    assert figures["mean_error_px"] == pytest.approx(2.0)
    assert figures["rmse_px"] == pytest.approx((26 / 3) ** 0.5)
    assert figures["median_error_px"] == pytest.approx(1.0)
    assert figures["confident_share"] == pytest.approx(2 / 3)
    assert figures["confident_mean_error_px"] == pytest.approx(2.5)
    assert figures["confident_rmse_px"] == pytest.approx((25 / 2) ** 0.5)
    per_keypoint = figures["per_keypoint"]
    assert per_keypoint["tail"]["mean_error_px"] == pytest.approx(1.0)
    assert per_keypoint["tail"]["confident_mean_error_px"] is None
    assert figures["pck_px"]["2"] == pytest.approx(2 / 3)
    assert "detections" not in figures


def test_more_cutoffs_give_the_errors_of_the_points_that_reach_them() -> None:
    figures = summarize(case(), ("snout", "tail"), 0.6, FigureOptions(cutoffs=(0.1, 0.85, 1.0)))
    at_cutoff = figures["at_cutoff"]
    assert at_cutoff["0.1"]["mean_error_px"] == pytest.approx(2.0)
    assert at_cutoff["0.85"]["mean_error_px"] == pytest.approx(5.0)
    assert at_cutoff["0.85"]["share"] == pytest.approx(1 / 3)
    assert at_cutoff["1"] == {
        "points": 0,
        "mean_error_px": None,
        "sem_px": None,
        "rmse_px": None,
        "median_error_px": None,
        "share": 0.0,
    }


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"cut-off is 1\.5"):
        FigureOptions(cutoffs=(0.5, 1.5))
    with pytest.raises(InvalidConfig, match="match radius is 0 px"):
        FigureOptions(match_radius_px=0.0)
    with pytest.raises(InvalidConfig, match="measured at nose, but the keypoints are snout, tail"):
        summarize(case(), ("snout", "tail"), 0.6, FigureOptions(body=("nose", "tail")))


def test_several_animals_are_measured_whatever_the_order_of_the_rows() -> None:
    found = three_animals()
    figures = summarize(found, ("snout", "tail"), 0.6, FigureOptions(match_radius_px=5.0))
    detections = figures["detections"]
    assert detections["recall"] == pytest.approx(11 / 12)
    assert detections["precision"] == 1
    assert detections["mean_error_px"] == pytest.approx(2, abs=1e-3)
    assert detections["per_keypoint"]["snout"]["recall"] == 1
    assert figures["points"] == 11
    assert figures["mean_error_px"] == pytest.approx(2, abs=1e-3)
    assert "oks_map" not in figures  # rows are not animals


def test_a_bundle_of_one_animal_is_measured_on_frames_with_three() -> None:
    found = three_animals()
    one = PosePredictions(found.keypoints_xy[:, 1:2], found.confidence[:, 1:2], found.labelled_xy)
    figures = summarize(one, ("snout", "tail"), 0.6)
    detections = figures["detections"]
    assert detections["recall"] == pytest.approx(1 / 3)
    assert figures["pck_px"]["10"] == pytest.approx(1 / 3)  # what nothing was found of is missed
    assert detections["precision"] == 1


def test_predictions_are_in_px_of_each_frame_whatever_its_size() -> None:
    spec = InputSpec(width_px=96, height_px=64, color="rgb", fit="letterbox")
    examples = []
    for width_px, height_px, x, y in ((192, 128, 101, 37), (96, 100, 20, 80)):
        pixels = np.zeros((height_px, width_px), np.uint8)
        pixels[y - 4 : y + 5, x - 4 : x + 5] = 100
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 250
        examples.append(Example("e", pixels, np.array([[[x, y]]], np.float32)))
    found = predict(FakeEngine(keypoints=1), examples, spec)
    assert found.errors_px().shape == (2, 1, 1)
    assert found.errors_px().max() < 2.5  # the brightest pixel of the model input, a cell of 2 px


def test_a_run_is_measured_by_part_and_its_evaluation_is_stored(trained: Run) -> None:
    figures = evaluate_run(trained)
    assert list(figures) == ["training", "validation", "test"]
    assert [part["frames"] for part in figures.values()] == [9, 1, 2]
    assert figures["test"]["points"] == 4
    assert set(figures["test"]["per_keypoint"]) == {"leftear", "rightear"}
    assert json.loads(trained.evaluation.read_text()) == figures


def test_a_run_looks_for_as_many_animals_as_it_is_told(trained: Run, project: Path) -> None:
    measured = measure_run(trained, [project], part="all", options=EvaluationOptions(animals=3))
    assert [part.name for part in measured.parts] == ["all"]
    assert measured.parts[0].found.keypoints_xy.shape == (12, 3, 2, 2)
    assert measured.figures()["detections"]["labelled"] == 24


def test_second_labels_are_compared_on_the_points_that_both_placed(
    trained: Run, project: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    table = second / "labeled-data" / "video1" / "CollectedData_other.csv"
    first = project / "labeled-data" / "video1"
    lines = (first / "CollectedData_person.csv").read_text().replace("person", "other").splitlines()
    table.parent.mkdir(parents=True)
    for picture in first.glob("*.png"):
        (table.parent / picture.name).write_bytes(picture.read_bytes())
    moved = []
    for line in lines[3:]:
        name, x1, y1, x2, y2 = line.split(",")
        moved.append(f"{name},{float(x1) + 3:.3f},{float(y1) + 4:.3f},{x2},{y2}")
    moved[0] = moved[0].rsplit(",", 2)[0] + ",,"  # a point that the second person did not place
    table.write_text("\n".join([*lines[:3], *moved]) + "\n")
    options = EvaluationOptions(second_labels=second)
    human = measure_run(trained, part="all", options=options).figures()["human"]
    assert human["frames"] == 12
    assert human["points"] == 23
    assert human["per_keypoint"]["leftear"]["mean_error_px"] == pytest.approx(5, abs=1e-3)
    assert human["per_keypoint"]["rightear"]["mean_error_px"] == pytest.approx(0, abs=1e-3)
    assert human["mean_error_px"] == pytest.approx(60 / 23, abs=1e-3)
    assert human["ratio"] == pytest.approx(human["network_mean_error_px"] * 23 / 60, rel=1e-3)

    # The same as a second file of labels in the first project.
    beside = first / table.name
    beside.write_text(table.read_text())
    (project / "config.yaml").write_text(
        "Task: t\nscorer: person\nbodyparts: [leftear, rightear]\n"
    )
    options = EvaluationOptions(second_labels=beside)
    assert measure_run(trained, part="all", options=options).figures()["human"] == {
        **human,
        "labels": str(beside),
    }
    options = EvaluationOptions(second_labels=second)

    (table.parent).rename(table.parent.with_name("elsewhere"))
    moved_table = second / "labeled-data" / "elsewhere" / table.name
    moved_table.write_text(moved_table.read_text().replace("video1", "elsewhere"))
    with pytest.raises(InvalidLabels, match="labels none of these 12 frames"):
        measure_run(trained, part="all", options=options)


@pytest.mark.real_data
def test_the_shipped_bundle_has_the_error_that_its_card_states(shared_data: Path) -> None:
    bundle = read_bundle(SHIPPED)
    figures = evaluate_bundle(bundle, [shared_data / OPEN_FIELD], part="test", **FP32)
    stated = bundle.manifest.provenance.metrics["mean_error_px"]
    assert figures["bundle"] == f"{bundle.name}@{bundle.version}"
    assert figures["frames"] == 23
    assert figures["mean_error_px"] == pytest.approx(stated, abs=0.02)
    assert figures["mean_error_px"] < 5
    assert f"{stated:.2f}" in bundle.document("card")


@pytest.mark.real_data
def test_test_and_training_frames_are_told_beside_each_other(shared_data: Path) -> None:
    bundle = read_bundle(SHIPPED)
    measured = measure_bundle(bundle, [shared_data / OPEN_FIELD], **FP32)
    figures = measured.figures()
    assert figures["part"] == "test"
    assert list(figures["parts"]) == ["test", "validation", "training"]
    assert figures["parts"]["test"]["mean_error_px"] == figures["mean_error_px"]
    assert sum(part["frames"] for part in figures["parts"].values()) == 116


@pytest.mark.real_data
def test_data_with_other_keypoints_than_the_bundle_is_refused(shared_data: Path) -> None:
    data = [shared_data / "dlc-reaching" / "Reaching-Mackenzie-2018-08-30"]
    with pytest.raises(InvalidConfig, match="the data labels Hand"):
        evaluate_bundle(read_bundle(SHIPPED), data, part="all", **FP32)

from pathlib import Path

import numpy as np
import pytest

from service.bundle import InputSpec, read_bundle
from service.engine import FakeEngine
from service.errors import InvalidConfig
from training.data.frames import Example
from training.pose.evaluate import PosePredictions, evaluate_bundle, predict, summarize

pytestmark = pytest.mark.needs_train

SHIPPED = Path(__file__).parents[3] / "deploy" / "models" / "openfield-mouse" / "1"


def test_figures_are_those_of_a_hand_computed_case() -> None:
    found = PosePredictions(
        keypoints_xy=np.array([[[3, 4], [0, 0]], [[0, 0], [9, 9]]], np.float32),
        confidence=np.array([[0.9, 0.2], [0.8, 0.9]], np.float32),
        labelled_xy=np.array([[[0, 0], [0, 1]], [[0, 0], [np.nan, np.nan]]], np.float32),
    )
    figures = summarize(found, ("snout", "tail"), 0.6)
    assert figures["points"] == 3
    assert figures["mean_error_px"] == pytest.approx(2.0)
    assert figures["rmse_px"] == pytest.approx((26 / 3) ** 0.5)
    assert figures["median_error_px"] == pytest.approx(1.0)
    assert figures["confident_share"] == pytest.approx(2 / 3)
    assert figures["confident_mean_error_px"] == pytest.approx(2.5)
    per_keypoint = figures["per_keypoint"]
    assert per_keypoint["tail"]["mean_error_px"] == pytest.approx(1.0)
    assert per_keypoint["tail"]["confident_mean_error_px"] is None


def test_predictions_are_in_px_of_each_frame_whatever_its_size() -> None:
    spec = InputSpec(width_px=96, height_px=64, color="rgb", fit="letterbox")
    examples = []
    for width_px, height_px, x, y in ((192, 128, 101, 37), (96, 100, 20, 80)):
        pixels = np.zeros((height_px, width_px), np.uint8)
        pixels[y - 4 : y + 5, x - 4 : x + 5] = 100
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 250
        examples.append(Example("e", pixels, np.array([[x, y]], np.float32)))
    found = predict(FakeEngine(keypoints=1), examples, spec)
    assert found.errors_px().max() < 2.5  # the brightest pixel of the model input, a cell of 2 px


@pytest.mark.real_data
def test_the_shipped_bundle_has_the_error_that_its_card_states(shared_data: Path) -> None:
    bundle = read_bundle(SHIPPED)
    data = [shared_data / "dlc-openfield" / "openfield-Pranav-2018-10-30"]
    figures = evaluate_bundle(
        bundle, data, part="test", engine="onnxruntime", precision="fp32", threads=2
    )
    stated = bundle.manifest.provenance.metrics["mean_error_px"]
    assert figures["frames"] == 23
    assert figures["mean_error_px"] == pytest.approx(stated, abs=0.02)
    assert figures["mean_error_px"] < 5
    assert f"{stated:.2f}" in bundle.document("card")


@pytest.mark.real_data
def test_data_with_other_keypoints_than_the_bundle_is_refused(shared_data: Path) -> None:
    data = [shared_data / "dlc-reaching" / "Reaching-Mackenzie-2018-08-30"]
    with pytest.raises(InvalidConfig, match="the data labels Hand"):
        evaluate_bundle(
            read_bundle(SHIPPED),
            data,
            part="all",
            engine="onnxruntime",
            precision="fp32",
            threads=1,
        )

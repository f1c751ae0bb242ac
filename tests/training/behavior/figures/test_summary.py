import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from service.bundle import BehaviorSpec
from training.behavior.figures import Answers, as_dict, measure, summarize

pytestmark = pytest.mark.needs_train
MakeSpec = Callable[..., BehaviorSpec]
Answered = Callable[..., Answers]


@dataclass(frozen=True)
class Said:
    """Logits of a recording, as an evaluation predicts them."""

    name: str
    logits: np.ndarray
    labels: np.ndarray
    clips: tuple[tuple[int, int], ...]


def test_figures_of_a_worked_example(make_spec: MakeSpec) -> None:
    truth = np.array([0, 1, 1, 1, 0, 2, 2, 2])
    said = np.array([0, 1, 1, 2, 0, 2, 2, 2])
    logits = np.eye(3, dtype=np.float32)[said] * 8
    logits[[0, 4]] = np.nan  # first frames of the clips have no past
    one = Said("one", logits, np.eye(3, dtype=np.int8)[truth], ((0, 4), (4, 8)))
    spec = make_spec("background", "run", "rear", exclusive=True, min_bout_frames=2)
    figures = summarize([one], spec, shuffles=10)
    assert figures["frames"] == 6
    assert figures["frames_without_context"] == 2
    assert figures["accuracy"] == pytest.approx(5 / 6)
    assert figures["micro_f1"] == pytest.approx(5 / 6)
    assert figures["entry_accuracy"] == pytest.approx(16 / 18)
    assert figures["macro_f1"] == pytest.approx((0.8 + 6 / 7) / 2)
    assert figures["macro_f1_without_background"] == pytest.approx((0.8 + 6 / 7) / 2)
    # The lone frame of rearing is removed and becomes background, which no label says.
    assert figures["macro_f1_after_bout_rule"] == pytest.approx((0.8 + 1.0 + 0.0) / 3)
    assert figures["macro_precision"] == pytest.approx((1 + 3 / 4) / 2)
    assert figures["macro_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert (figures["clips"], figures["clip_accuracy"], figures["clip_macro_f1"]) == (2, 1.0, 1.0)
    assert figures["confusion"] == [[0, 0, 0], [0, 2, 1], [0, 0, 3]]
    per_class = figures["per_class"]
    assert isinstance(per_class, dict)
    assert list(per_class) == ["background", "run", "rear"]
    assert per_class["background"]["f1"] is None
    assert per_class["background"]["auroc"] is None
    run = per_class["run"]
    assert run["f1"] == pytest.approx(0.8)
    assert (run["precision"], run["recall"]) == (1.0, pytest.approx(2 / 3))
    assert run["f2"] == pytest.approx(5 * 2 / (4 * 3 + 2))
    assert run["confusion"] == [[3, 0], [1, 2]]
    assert (run["frames"], run["predicted_frames"], run["threshold"]) == (3, 2, None)
    assert run["bouts"]["labelled"] == run["bouts"]["found"] == 1
    assert run["bouts"]["labelled_mean_length_s"] == pytest.approx(0.3)
    assert run["bouts"]["correlation_count"] is None
    assert figures["chance_f1"] < figures["macro_f1"]  # type: ignore[operator]
    recording = figures["per_recording"]
    assert isinstance(recording, dict)
    assert recording["one"]["macro_f1"] == figures["macro_f1"]
    assert recording["one"]["f1"]["background"] is None


def test_logits_become_probabilities_by_the_kind_of_the_model(make_spec: MakeSpec) -> None:
    labels = np.array([[1, 1], [0, 0], [1, 0]], np.int8)
    one = Said("one", np.where(labels, 3, -3).astype(np.float32), labels, ((0, 3),))
    figures = summarize([one], make_spec("run", "rear", exclusive=False), shuffles=0)
    assert figures["macro_f1"] == 1.0
    assert figures["calibration_error"] == pytest.approx(1 / (1 + np.exp(3)), rel=1e-4)
    assert "chance_f1" not in figures
    assert "confusion" not in figures
    assert "clips" not in figures


def test_all_figures_can_be_written_as_json_without_nan(
    make_spec: MakeSpec, answered: Answered
) -> None:
    one = answered("one", ["##..", "...."], ["#..#", "...."])
    empty = answered("empty", ["????", "????"], ["####", "...."])
    second = {"one": one.labels}
    spec = make_spec("run", "rear", exclusive=False)
    figures = as_dict(measure([one, empty], spec, second=second, shuffles=5))
    again = json.loads(json.dumps(figures, allow_nan=False))
    assert again["per_class"]["rear"]["f1"] is None
    assert again["per_class"]["run"]["threshold"] == 0.5
    assert again["per_recording"]["empty"]["macro_f1"] is None
    assert again["second_labeller"]["people"]["macro_f1"] == 1.0
    assert (
        again["second_labeller"]["model"]["f1"] == again["second_labeller"]["model_to_second"]["f1"]
    )
    assert again["chance_map"] == pytest.approx(0.5)
    assert again["bouts"] == {
        "macro_f1": pytest.approx(2 / 3),
        "labelled": 1,
        "predicted": 2,
        "found": 1,
        "correlation_count": None,
        "correlation_mean_length_s": None,
        "correlation_time_spent_s": None,
    }

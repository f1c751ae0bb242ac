"""The error of a pose bundle on labelled frames, through the functions and engines that serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle, InputSpec
from service.engine import Engine, choose_engine, create_engine
from service.errors import InvalidConfig
from service.pose import poses_in_frame
from service.preprocess import to_model_input
from training.data.frames import Example, load_examples
from training.data.labels import InvalidLabels, LabelledFrame
from training.data.projects import LabelledData, choose_frames, read_projects
from training.runs import Split

_BATCH_FRAMES = 8


@dataclass(frozen=True, slots=True)
class PosePredictions:
    """What a bundle says of labelled frames, beside their labels."""

    keypoints_xy: NDArray[np.float32]
    """(F, K, 2) px of the frame, F frames."""
    confidence: NDArray[np.float32]
    """(F, K) in [0, 1]."""
    labelled_xy: NDArray[np.float32]
    """(F, K, 2) px of the frame; NaN where not labelled."""

    def errors_px(self) -> NDArray[np.float32]:
        """Euclidean distances (F, K) in px of the frame; NaN where not labelled."""
        distances: NDArray[np.float32] = np.linalg.norm(
            self.keypoints_xy - self.labelled_xy, axis=2
        )
        return distances


def evaluate_bundle(
    bundle: Bundle,
    data: Sequence[Path],
    *,
    part: Literal["test", "all"],
    engine: str,
    precision: str,
    threads: int,
) -> dict[str, object]:
    """Measure `bundle` on DeepLabCut projects.

    Args:
        bundle: a pose bundle.
        data: folders of the projects.
        part: `test` takes the test frames of the bundle's split.json, `all` every frame.
        engine: auto, onnxruntime or openvino.
        precision: auto, fp32 or bf16.
        threads: processor threads.

    Returns:
        `mean_error_px` (mean Euclidean distance of all labelled points, what DeepLabCut calls
        RMSE), `rmse_px` (root of the mean squared distance), the same for points at or above
        the bundle's confidence cutoff, and `per_keypoint`, each in px of the frame.

    Raises:
        InvalidLabels: the data cannot be read or lacks frames of the split.
        InvalidConfig: the bundle's keypoints are not those of the data.
    """
    labels = read_projects(data)
    spec = bundle.manifest.pose
    assert spec is not None, "a pose bundle has the section `pose`"
    if spec.keypoints != labels.keypoints:
        raise InvalidConfig(
            f"bundle {bundle.name} finds {', '.join(spec.keypoints)}, but the data labels "
            f"{', '.join(labels.keypoints)}; evaluate on data with the bundle's keypoints"
        )
    examples = load_examples(_part(bundle, labels, part))
    engine, precision = choose_engine(bundle.manifest, engine, precision)
    graph = create_engine(
        bundle.graph_path("pose"), engine=engine, precision=precision, threads=threads
    )
    found = predict(graph, examples, bundle.manifest.input)
    return {
        "bundle": f"{bundle.name}@{bundle.version}",
        "part": part,
        "frames": len(examples),
        "engine": graph.engine,
        "precision": graph.precision,
        "confidence_cutoff": spec.confidence_cutoff,
        **summarize(found, spec.keypoints, spec.confidence_cutoff),
    }


def predict(engine: Engine, examples: Sequence[Example], spec: InputSpec) -> PosePredictions:
    """Run a pose graph with one animal on whole frames."""
    keypoints_xy, confidence = [], []
    for start in range(0, len(examples), _BATCH_FRAMES):
        chunk = examples[start : start + _BATCH_FRAMES]
        inputs, placements = zip(
            *(to_model_input(example.pixels, spec) for example in chunk), strict=True
        )
        answers = engine.run({"frames": np.stack(inputs)})["keypoints"].astype(np.float32)
        for answer, placement in zip(answers, placements, strict=True):
            poses = poses_in_frame(answer, placement)
            keypoints_xy.append(poses.keypoints_xy[0])
            confidence.append(poses.confidence[0])
    return PosePredictions(
        keypoints_xy=np.stack(keypoints_xy),
        confidence=np.stack(confidence),
        labelled_xy=np.stack([example.keypoints_xy for example in examples]),
    )


def summarize(
    found: PosePredictions, keypoints: Sequence[str], confidence_cutoff: float
) -> dict[str, object]:
    """Return the figures that `evaluate_bundle` documents."""
    errors = found.errors_px()
    confident = found.confidence >= confidence_cutoff
    per_keypoint = {
        name: _figures(errors[:, index], confident[:, index])
        for index, name in enumerate(keypoints)
    }
    return {**_figures(errors, confident), "per_keypoint": per_keypoint}


def _figures(
    errors: NDArray[np.float32], confident: NDArray[np.bool_]
) -> dict[str, float | int | None]:
    labelled = np.isfinite(errors)
    known = errors[labelled].astype(np.float64)
    sure = errors[labelled & confident].astype(np.float64)
    if not known.size:
        return {"points": 0, "mean_error_px": None, "rmse_px": None}
    return {
        "points": int(known.size),
        "mean_error_px": float(known.mean()),
        "rmse_px": float(np.sqrt((known**2).mean())),
        "median_error_px": float(np.median(known)),
        "confident_share": sure.size / known.size,
        "confident_mean_error_px": float(sure.mean()) if sure.size else None,
    }


def _part(bundle: Bundle, labels: LabelledData, part: str) -> list[LabelledFrame]:
    if part == "all":
        return list(labels.frames.values())
    text = bundle.document("split")
    if not text:
        raise InvalidLabels(
            f"bundle {bundle.name} has no split.json, so its test frames are unknown; "
            "use --part all on data that it was not trained on"
        )
    return choose_frames(labels.frames, msgspec.json.decode(text, type=Split).test)

"""Turns the graphs of a bundle to models of Triton: names, tensors, batches, what they mean.

Fields and enums are those of ModelConfig in model_config.proto of triton-inference-server/common.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.triton.text_format import Enum, Message, Value
from service.bundle import Bundle
from service.engine import TensorSpec, load_graph
from service.errors import InvalidConfig
from service.graph_inputs import BATCH_SIZES

LABELS_FILE = "labels.txt"
_RUNTIME = "onnxruntime"
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_ANY_SIZE = -1


@dataclass(frozen=True, slots=True)
class TritonModel:
    """One folder of a model repository of Triton."""

    name: str
    inputs: tuple[TensorSpec, ...]
    """With the batch axis in front, as all of `outputs`."""
    outputs: tuple[TensorSpec, ...]
    scheduling: Message
    """Fields that say what computes a batch, and how batches are made."""
    parameters: Mapping[str, str]
    """What a client may ask the server about the model; Triton itself does not read it."""
    graph: Path | None = None
    """ONNX file of the model; None for an ensemble, which has none."""
    labels: tuple[str, ...] = ()
    """Behaviors in the order of the output `logits` (B, C), for Triton's classification."""

    @property
    def config(self) -> Message:
        """Content of config.pbtxt."""
        return {
            "name": self.name,
            "max_batch_size": BATCH_SIZES[-1],
            "input": tuple(_tensor(one) for one in self.inputs),
            "output": tuple(_tensor(one, labelled=bool(self.labels)) for one in self.outputs),
            **self.scheduling,
            "parameters": tuple(
                {"key": key, "value": {"string_value": text}}
                for key, text in self.parameters.items()
            ),
        }


def triton_models(bundle: Bundle) -> list[TritonModel]:
    """Describe the models that a bundle becomes.

    A pose bundle is one model of its name. A behavior bundle is one model for each graph,
    `<name>-flow` and so on; where its flow graph takes all frames that an answer looks at, there
    is an ensemble of flow and features by the bundle's name, too. Where int8 passed the parity
    gate on ONNX Runtime, which is what Triton computes with, each int8 graph is one more model,
    `<name>-int8`, and so is the ensemble of them.

    Raises:
        InvalidConfig: the bundle did not pass its gate on ONNX Runtime in fp32.
    """
    manifest = bundle.manifest
    passed = manifest.precisions.get(_RUNTIME, ("fp32",))
    if "fp32" not in passed:
        raise InvalidConfig(
            f"{bundle.name} version {bundle.version} did not pass its parity gate on {_RUNTIME} in "
            "fp32, and Triton would compute it with nothing else; export the run again"
        )
    parts: dict[str, TritonModel] = {}
    models = []
    for precision in ("fp32", "int8"):
        if precision not in passed:
            continue
        for graph in manifest.graph_names:
            if precision == "fp32" or graph in manifest.quantized:
                parts[graph] = _model(bundle, graph, precision)  # int8 after fp32: in its place
                models.append(parts[graph])
        if _sees_the_window(bundle):
            models.append(_ensemble(bundle, parts, precision))
    return models


def _model(bundle: Bundle, graph: str, precision: str) -> TritonModel:
    engine = load_graph(bundle, graph, engine=_RUNTIME, precision=precision, threads=1)
    behavior = bundle.manifest.behavior
    # Triton numbers the values of a sample, so that labels would be wrong for several frames.
    labelled = any(one.name == "logits" and len(one.shape) == 2 for one in engine.outputs)
    source = bundle.manifest.source(graph, precision)
    return TritonModel(
        name=_name(bundle, precision, "" if behavior is None else graph),
        inputs=engine.inputs,
        outputs=engine.outputs,
        scheduling={
            "backend": _RUNTIME,
            "dynamic_batching": {"preferred_batch_size": BATCH_SIZES},
        },
        parameters={"graph": graph, "graph_sha256": source.sha256, **_meaning(bundle, precision)},
        graph=bundle.directory / source.path,
        labels=behavior.behaviors if behavior is not None and labelled else (),
    )


def _sees_the_window(bundle: Bundle) -> bool:
    """Whether one call of the flow graph gives all flows of an answer.

    Otherwise each flow is one call, which several answers share: Triton cannot put the outputs of
    several calls together.
    """
    behavior = bundle.manifest.behavior
    return behavior is not None and behavior.flow_input_frames == behavior.flow_frames + 1


def _ensemble(bundle: Bundle, parts: Mapping[str, TritonModel], precision: str) -> TritonModel:
    flow, features = parts["flow"], parts["features"]
    behavior = bundle.manifest.behavior
    assert behavior is not None, "only behavior bundles have flow and features"
    (window,) = flow.inputs
    inputs = [window]
    answered = "frames"  # the features look at the whole window, too
    if behavior.feature_input_frames == 1:
        (frame,) = (one for one in features.inputs if one.name == "frames")
        answered = "frame"
        inputs.append(TensorSpec(answered, frame.dtype, frame.shape))
    steps = (
        _step(bundle, flow.name, {"frames": "frames"}, ("flows",)),
        _step(
            bundle,
            features.name,
            {"frames": answered, "flows": "flows"},
            tuple(one.name for one in features.outputs),
        ),
    )
    return TritonModel(
        name=_name(bundle, precision, ""),
        inputs=tuple(inputs),
        outputs=features.outputs,
        scheduling={"platform": "ensemble", "ensemble_scheduling": {"step": steps}},
        parameters=_meaning(bundle, precision),
        labels=behavior.behaviors,
    )


def _step(
    bundle: Bundle, model: str, inputs: Mapping[str, str], outputs: tuple[str, ...]
) -> Message:
    """One model of an ensemble; its outputs keep their names."""
    return {
        "model_name": model,
        "model_version": bundle.version,
        "input_map": tuple({"key": key, "value": value} for key, value in inputs.items()),
        "output_map": tuple({"key": one, "value": one} for one in outputs),
    }


def _name(bundle: Bundle, precision: str, graph: str) -> str:
    suffix = "" if precision == "fp32" else precision
    return "-".join(part for part in (bundle.name, graph, suffix) if part)


def _tensor(spec: TensorSpec, *, labelled: bool = False) -> Message:
    fields: dict[str, Value] = {
        "name": spec.name,
        "data_type": Enum(_TYPES[spec.dtype.name]),
        "dims": tuple(_ANY_SIZE if size is None else size for size in spec.shape[1:]),
    }
    if labelled and spec.name == "logits":
        fields["label_filename"] = LABELS_FILE
    return fields


def _meaning(bundle: Bundle, precision: str) -> dict[str, str]:
    """What the tensors mean, as far as a client cannot do without; the README says it in words."""
    manifest = bundle.manifest
    if manifest.behavior is not None:
        answers = {"behaviors": ",".join(manifest.behavior.behaviors)}
    else:
        assert manifest.pose is not None, "a bundle is of pose or behavior"
        answers = {"keypoints": ",".join(manifest.pose.keypoints)}
    return {
        "bundle": bundle.name,
        "bundle_version": str(bundle.version),
        "precision": precision,
        "width_px": str(manifest.input.width_px),
        "height_px": str(manifest.input.height_px),
        "color": manifest.input.color,
        "fit": manifest.input.fit,
        **answers,
    }

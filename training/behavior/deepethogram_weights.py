"""Our networks with DeepEthogram's weights: what differs between the two is settled here.

Where the wiring that the weights were trained in is not certain, it is put into the weights, which
is exact: a factor of a layer's output, the order of what is joined, the order of a mix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from service.errors import InvalidConfig
from training.behavior.networks.base import FeatureExtractor
from training.behavior.networks.two_stream import FusionName, TwoStream, TwoStreamResNet
from training.behavior.settings import PresetName
from training.checkpoints import state_dict

FLOW_WEIGHT = 1.5
"""Of the flows' logits in DeepEthogram's `average`; its paper says 1."""
STATISTICS = ("standardize.*",)
"""Tensors of ours that its files hold apart, in the configuration of the project."""
_SPATIAL_CHANNELS = 16
"""First of the 33 stacked channels that its 2-D networks take for the middle frame's colors; 15
would be its red."""
_FLOW = "flow_generator."
_STREAMS = ("spatial_classifier", "flow_classifier")
_BATCH_NORM_EPSILON = 1e-5
_LEVELS: Mapping[PresetName, Mapping[int, tuple[int, int, int]]] = {
    "deg_f": {3: (256, 128, 20), 2: (128, 64, 20)},
    "deg_m": {5: (512, 512, 20), 4: (512, 256, 20), 3: (256, 128, 20), 2: (128, 64, 20)},
    "deg_s": {3: (64, 32, 2), 2: (32, 16, 2)},
}
"""Channels that each level joins: of the encoder, of the level below, of its flow."""
_MIXED = 8
"""Copies that a temporal layer takes and gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How DeepEthogram wires what its weights alone do not tell."""

    as_trained: bool = True
    """True: its quirks, as its weights were trained: colors of the middle frame that begin at its
    green and end at the next frame's red (2-D networks), and flows that weigh 1.5 in `average`.
    False: what the paper describes."""
    up_flow_factor: Literal[1, 2] = 2
    """Of a flow that is brought to the next finer scale."""
    joined: Literal["encoder-first", "decoder-first"] = "encoder-first"
    """What comes first where maps are joined."""
    mixes: Literal["output-first", "input-first"] = "output-first"
    """Order of the rows of `soft_attn` in the temporal layers that mix several copies."""


class AsTrained(FeatureExtractor):
    """A 2-D two-stream network that sees the colors that DeepEthogram's weights were trained on.

    Its frames are all 11 of a window: green and blue of the middle one, and red of the next.

    Args:
        network: takes one frame.
    """

    input_frames = 11
    flow_frames = 10

    def __init__(self, network: TwoStreamResNet) -> None:
        super().__init__()
        self.network = network
        self.feature_size = network.feature_size

    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """See FeatureExtractor."""
        first, last = _SPATIAL_CHANNELS // 3, (_SPATIAL_CHANNELS + 2) // 3
        colors = self.network.standardize(frames[:, first : last + 1])
        stacked = colors.permute(0, 1, 4, 2, 3).flatten(1, 2)
        offset = _SPATIAL_CHANNELS - 3 * first
        trunk, last_layer = self.network.spatial_classifier
        features = trunk(stacked[:, offset : offset + 3])
        flow, flow_logits = self.network.flow_stream(flows)
        logits: Tensor = self.network.fusion(last_layer(features), flow_logits)
        return torch.cat([features, flow], dim=1), logits

    def last_layers(self) -> list[nn.Linear]:
        """See FeatureExtractor."""
        return self.network.last_layers()


def network_tensors(checkpoint: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a stage's network, without what Lightning and its loss add.

    Args:
        checkpoint: of `read_checkpoint`.
        path: named in errors.

    Raises:
        InvalidConfig: there are none.
    """
    tensors = state_dict(checkpoint, path)
    if any(name.startswith("model.") for name in tensors):
        tensors = {
            name.removeprefix("model."): value
            for name, value in tensors.items()
            if name.startswith("model.")
        }
    return {
        name.removeprefix("module."): value
        for name, value in tensors.items()
        if not name.startswith("criterion.")
    }


def preset_of(tensors: Mapping[str, Tensor], path: object) -> PresetName:
    """Tell the preset by the first layers of the flow generator and of the pixels' network.

    Raises:
        InvalidConfig: they are of none, or not there.
    """
    kernels = []
    for name in ("flow_generator.conv1.0.weight", "spatial_classifier.0.conv1.weight"):
        if name not in tensors:
            raise InvalidConfig(
                f"{path} has no tensor {name}; name the checkpoint of a feature extractor, which "
                "holds its flow generator too"
            )
        kernels.append(tuple(tensors[name].shape))
    known: dict[tuple[tuple[int, ...], ...], PresetName] = {
        ((64, 33, 7, 7), (64, 3, 7, 7)): "deg_f",
        ((64, 33, 3, 3), (64, 3, 7, 7)): "deg_m",
        ((16, 3, 7, 7, 7), (64, 3, 7, 7, 7)): "deg_s",
    }
    found = known.get(tuple(kernels))
    if found is None:
        raise InvalidConfig(
            f"the tensors flow_generator.conv1.0.weight and spatial_classifier.0.conv1.weight of "
            f"{path} have shapes {kernels[0]} and {kernels[1]}; expected are "
            + ", ".join(f"{one[0]} and {one[1]} ({name})" for one, name in known.items())
        )
    return found


def fusion_of(tensors: Mapping[str, Tensor]) -> FusionName:
    """Tell how the streams are fused by the tensors that it has."""
    if "fusion.fc.weight" in tensors:
        return "concatenate"
    return "weighted" if "fusion.flow_weight" in tensors else "average"


def feature_weights(
    tensors: Mapping[str, Tensor], kept: list[int], classes: int, path: object
) -> dict[str, Tensor]:
    """Return the tensors of a feature extractor for the classes `kept`, its norms folded in.

    Args:
        tensors: of the checkpoint.
        kept: rows of the last layers that are kept, in this order.
        classes: that the project names.
        path: named in errors.

    Raises:
        InvalidConfig: a last layer has not one row for each class.
    """
    weights = {name: value for name, value in tensors.items() if not name.startswith(_FLOW)}
    for stream in _STREAMS:
        _fold_norm(weights, stream)
    last = [f"{stream}.1" for stream in _STREAMS] + ["fusion.fc"]
    return _keep(weights, [f"{one}.{end}" for one in last for end in _ENDS], kept, classes, path)


def class_count(tensors: Mapping[str, Tensor], path: object) -> int:
    """Return the number of behaviors that a feature extractor answers.

    Raises:
        InvalidConfig: it has no last layer.
    """
    for name in ("spatial_classifier.1.weight", "fusion.fc.weight"):
        if name in tensors:
            return len(tensors[name])
    raise InvalidConfig(
        f"{path} has no tensor spatial_classifier.1.weight; name the checkpoint of a feature "
        "extractor"
    )


def paper_colors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of 2-D features for the colors of the middle frame.

    They were trained on its green and blue, and on the red of the next frame in the third place;
    the kernels are put in the order red, green, blue, and the frame between them is not told apart.

    Args:
        weights: of `feature_weights`.
    """
    name = "spatial_classifier.0.conv1.weight"
    if weights[name].ndim != 4:
        return dict(weights)
    return {**weights, name: weights[name][:, [2, 0, 1]].contiguous()}


def sequence_weights(
    tensors: Mapping[str, Tensor], kept: list[int], classes: int, path: object, wiring: Wiring
) -> dict[str, Tensor]:
    """Return the tensors of a sequence model for the classes `kept`.

    Raises:
        InvalidConfig: a last layer has not one row for each class, or the two norms differ where
            they share a tensor.
    """
    weights = dict(tensors)
    names = [f"classify{n}.{layer}" for n in (1, 2) for layer in _CLASSIFY]
    biases = [weights.get(f"classify{n}.1.bias") for n in (1, 2)]
    if biases[0] is not None and biases[1] is not None and not torch.equal(biases[0], biases[1]):
        raise InvalidConfig(
            f"{path} has different tensors classify1.1.bias and classify2.1.bias, which are one "
            "in DeepEthogram's sequence model; name a checkpoint of `tgmj`"
        )
    if wiring.mixes == "input-first":
        for name, value in weights.items():
            if name.endswith(".soft_attn") and len(value) == _MIXED**2:
                rows = value.view(_MIXED, _MIXED, -1).transpose(0, 1)
                weights[name] = rows.flatten(0, 1).contiguous()
    return _keep(weights, names, kept, classes, path)


def flow_weights(
    tensors: Mapping[str, Tensor], preset: PresetName, wiring: Wiring
) -> dict[str, Tensor]:
    """Return the tensors of the flow generator, rewired as `wiring` says."""
    weights = {name: value for name, value in tensors.items() if name.startswith(_FLOW)}
    for name, value in weights.items():
        if wiring.up_flow_factor == 1 and name.startswith(f"{_FLOW}upsampled_flow"):
            weights[name] = value / 2  # our networks double what these layers give
    if preset == "deg_s":
        _settle_biases(weights)
    if wiring.joined == "encoder-first":
        return weights
    levels = _LEVELS[preset]
    for level, (encoder, decoder, flow) in levels.items():
        order = [
            *range(decoder, decoder + encoder),
            *range(decoder),
            *range(encoder + decoder, encoder + decoder + flow),
        ]
        _reorder(weights, f"{_FLOW}xconv{level}.0.weight", order, axis=1)
        if preset == "deg_m" and level - 1 in levels:
            _reorder(weights, f"{_FLOW}deconv{level - 1}.0.weight", order, axis=0)
    return weights


_ENDS = ("weight", "bias")
_CLASSIFY = ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")


def _reorder(weights: dict[str, Tensor], name: str, order: list[int], *, axis: int) -> None:
    if name in weights and weights[name].shape[axis] == len(order):
        weights[name] = weights[name].index_select(axis, torch.tensor(order))


def _settle_biases(weights: dict[str, Tensor]) -> None:
    """Bring the 3-D layers to biases where ours have them, whichever have them in the file."""
    for name in list(weights):
        layer = name.removesuffix(".0.bias")
        mean = f"{layer}.1.running_mean"
        if layer != name and mean in weights and not layer.startswith(f"{_FLOW}xconv"):
            weights[mean] = weights[mean] - weights.pop(name)
    for name, value in list(weights.items()):
        if name.startswith(f"{_FLOW}upsampled_flow") and name.endswith(".weight"):
            bias = f"{name.removesuffix('.weight')}.bias"
            weights.setdefault(bias, torch.zeros(value.shape[1]))


def _fold_norm(weights: dict[str, Tensor], stream: str) -> None:
    """Put the norm behind a last layer without bias into that layer."""
    names = [f"{stream}.2.{one}" for one in ("weight", "bias", "running_mean", "running_var")]
    if any(name not in weights for name in (*names, f"{stream}.1.weight")):
        return
    gain, shift, mean, variance = (weights.pop(name) for name in names)
    weights.pop(f"{stream}.2.num_batches_tracked", None)
    factor = gain / (variance + _BATCH_NORM_EPSILON).sqrt()
    bias = weights.get(f"{stream}.1.bias", torch.zeros_like(shift))
    weights[f"{stream}.1.weight"] = weights[f"{stream}.1.weight"] * factor[:, None]
    weights[f"{stream}.1.bias"] = (bias - mean) * factor + shift


def _keep(
    weights: dict[str, Tensor], names: list[str], kept: list[int], classes: int, path: object
) -> dict[str, Tensor]:
    for name in names:
        if name not in weights:
            continue
        if len(weights[name]) != classes:
            raise InvalidConfig(
                f"the tensor {name} of {path} has shape {tuple(weights[name].shape)}, but "
                f"{(classes, *weights[name].shape[1:])} is expected for the {classes} behaviors "
                "that the project names; name the checkpoint that was trained with them"
            )
        weights[name] = weights[name][kept]
    return weights


def is_average(network: TwoStream) -> bool:
    """Whether the fusion has a fixed weight."""
    return isinstance(getattr(network.fusion, "flow_weight", None), float)

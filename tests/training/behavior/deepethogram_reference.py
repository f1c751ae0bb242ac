"""The networks of DeepEthogram's preset `deg_f` once more, straight from the published layers.

Independent of our own networks: plain functions over a flat state dict, random weights in the
published names and shapes. Slow and obvious on purpose.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
MEAN = (0.40, 0.45, 0.50)
STD = (0.20, 0.25, 0.30)


def random_features(classes: int, seed: int) -> State:
    """Weights of flow generator, both ResNet-18 streams and their last layers."""
    state: State = {}
    make = _Maker(state, seed)
    flow = "flow_generator."
    for name, before, after, kernel in (
        ("conv1", 33, 64, 7),
        ("conv2", 64, 128, 5),
        ("conv3", 128, 256, 3),
        ("conv4", 256, 128, 3),
    ):
        make.layer(f"{flow}{name}.0", (after, before, kernel, kernel), bias=True)
        make.norm(f"{flow}{name}.1", after)
    for name, before, after in (("deconv3", 128, 128), ("deconv2", 128, 64)):
        make.layer(f"{flow}{name}.0", (before, after, 4, 4), bias=True, bias_size=after)
    for name, before, after in (("xconv3", 404, 128), ("xconv2", 212, 64)):
        make.layer(f"{flow}{name}.0", (after, before, 3, 3), bias=True)
        make.norm(f"{flow}{name}.1", after)
    for name, before in (("predict_flow4", 128), ("predict_flow3", 128), ("predict_flow2", 64)):
        make.layer(f"{flow}{name}", (20, before, 3, 3), bias=False)
    for name in ("upsampled_flow4_to_3", "upsampled_flow3_to_2"):
        make.layer(f"{flow}{name}", (20, 20, 4, 4), bias=True)
    for stream, channels in (("spatial_classifier", 3), ("flow_classifier", 20)):
        _random_resnet18(make, f"{stream}.0.", channels)
        make.layer(f"{stream}.1", (classes, 512), bias=True)
    return state


def random_sequence(classes: int, seed: int) -> State:
    """Weights of the sequence model `tgmj`, unused tensors included."""
    state: State = {}
    make = _Maker(state, seed)
    for layer, copies in enumerate((1, 8, 8)):
        prefix = f"tgm_layers.{layer}."
        for name in ("center", "delta", "gamma"):
            state[prefix + name] = make.normal(8)
        state[f"{prefix}soft_attn"] = 4 * make.normal(8 * copies, 8)
        if copies > 1:
            state[f"{prefix}cls_attn"] = make.normal(1, 8, copies, 1, 1)
    for name in ("h", "h2"):
        make.layer(name, (128, 1024, 1), bias=True)
    for name in ("classify1", "classify2"):
        make.layer(f"{name}.0", (classes, 128, 1), bias=False)
        make.norm(f"{name}.1", classes)
    state["classify2.1.bias"] = state["classify1.1.bias"].clone()
    return state


def feature_answers(
    state: State, windows: Tensor, *, first_channel: int = 16, flow_weight: float = 1.5
) -> tuple[Tensor, Tensor]:
    """Features (T, 1024) and logits (T, K) of windows (T, 11, H, W, 3) uint8."""
    colors = (windows.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    # Frame by frame, red, green and blue of each: 33 channels.
    stacked = torch.cat([colors[:, frame].permute(0, 3, 1, 2) for frame in range(11)], dim=1)
    flows = tiny_motionnet(state, "flow_generator.", stacked)
    spatial = _resnet18(
        state, "spatial_classifier.0.", stacked[:, first_channel : first_channel + 3]
    )
    motion = _resnet18(state, "flow_classifier.0.", flows)
    logits = [
        features @ state[f"{name}.1.weight"].T + state[f"{name}.1.bias"]
        for name, features in (("spatial_classifier", spatial), ("flow_classifier", motion))
    ]
    fused = (logits[0] + flow_weight * logits[1]) / (1 + flow_weight)
    return torch.cat([spatial, motion], dim=1), fused


def tiny_motionnet(
    state: State, prefix: str, stacked: Tensor, *, factor: float = 2, decoder_first: bool = False
) -> Tensor:
    """The finest flow (T, 20, H/2, W/2), in px of its own scale."""

    def get(name: str) -> Tensor:
        return state[prefix + name]

    def conv(name: str, maps: Tensor, *, stride: int, active: bool = True) -> Tensor:
        kernel = get(f"{name}.0.weight")
        maps = functional.conv2d(
            maps, kernel, get(f"{name}.0.bias"), stride=stride, padding=(kernel.shape[-1] - 1) // 2
        )
        maps = _norm(state, f"{prefix}{name}.1", maps)
        return functional.leaky_relu(maps, 0.1) if active else maps

    def deconv(name: str, maps: Tensor) -> Tensor:
        raised = functional.conv_transpose2d(
            maps, get(f"{name}.0.weight"), get(f"{name}.0.bias"), stride=2, padding=1
        )
        return functional.leaky_relu(raised, 0.1)

    def up_flow(name: str, flow: Tensor) -> Tensor:
        raised = functional.conv_transpose2d(
            flow, get(f"{name}.weight"), get(f"{name}.bias"), stride=2, padding=1
        )
        return raised * factor

    def join(encoder: Tensor, decoder: Tensor, flow: Tensor) -> Tensor:
        both = (decoder, encoder) if decoder_first else (encoder, decoder)
        return torch.cat([*both, flow], dim=1)

    first = conv("conv1", stacked, stride=1)
    second = conv("conv2", first, stride=2)
    third = conv("conv3", second, stride=2)
    fourth = conv("conv4", third, stride=2)
    flow4 = functional.conv2d(fourth, get("predict_flow4.weight"), padding=1)
    joined = join(third, deconv("deconv3", fourth), up_flow("upsampled_flow4_to_3", flow4))
    maps = conv("xconv3", joined, stride=1, active=False)
    flow3 = functional.conv2d(maps, get("predict_flow3.weight"), padding=1)
    joined = join(second, deconv("deconv2", maps), up_flow("upsampled_flow3_to_2", flow3))
    maps = conv("xconv2", joined, stride=1, active=False)
    return functional.conv2d(maps, get("predict_flow2.weight"), padding=1)


def sequence_answers(state: State, features: Tensor, *, input_first: bool = False) -> Tensor:
    """Logits (T, K) of a whole recording's features (T, 1024)."""
    series = features.T  # (D, T)
    stack = [series]
    for layer in range(3):
        stack = _tgm_layer(state, f"tgm_layers.{layer}.", stack, input_first=input_first)
    smoothed = torch.stack(stack).max(dim=0).values
    logits = []
    for name, source in (("classify1", series), ("classify2", smoothed)):
        hidden = torch.relu(state["h.weight"][:, :, 0] @ source + state["h.bias"][:, None])
        scores = state[f"{name}.0.weight"][:, :, 0] @ hidden
        logits.append(_norm(state, f"{name}.1", scores[None])[0])
    return ((logits[0] + logits[1]) / 2).T


def _tgm_layer(
    state: State, prefix: str, stack: list[Tensor], *, input_first: bool
) -> list[Tensor]:
    center, gamma = state[f"{prefix}center"], state[f"{prefix}gamma"]
    filters = []
    for place in range(8):
        middle = 14 * (math.tanh(center[place]) + 1) / 2
        width = math.exp(1.5 - 2 * abs(math.tanh(gamma[place])))
        bump = torch.tensor(
            [1 / (math.pi * width * (((t - middle) / width) ** 2 + 1)) for t in range(15)]
        )
        filters.append(bump / bump.sum())
    kernels = state[f"{prefix}soft_attn"].softmax(dim=1) @ torch.stack(filters)
    copies = len(stack)
    result = []
    for output in range(8):
        rows = [
            source * 8 + output if input_first else output * copies + source
            for source in range(copies)
        ]
        filtered = [_filter(kernels[row], one) for row, one in zip(rows, stack, strict=True)]
        if copies == 1:
            result.append(filtered[0])
            continue
        shares = state[f"{prefix}cls_attn"][0, output, :, 0, 0].softmax(dim=0)
        result.append(sum(share * one for share, one in zip(shares, filtered, strict=True)))
    return result


def _filter(kernel: Tensor, series: Tensor) -> Tensor:
    """Correlate each row of (D, T) with 15 taps, zeros beyond the ends."""
    padded = functional.pad(series, (7, 7))
    return sum(kernel[tap] * padded[:, tap : tap + series.shape[1]] for tap in range(15))


def _resnet18(state: State, prefix: str, maps: Tensor) -> Tensor:
    maps = functional.conv2d(maps, state[f"{prefix}conv1.weight"], stride=2, padding=3)
    maps = torch.relu(_norm(state, f"{prefix}bn1", maps))
    maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
    for name, stride, _, _ in _blocks():
        shortcut = maps
        if f"{prefix}{name}.downsample.0.weight" in state:
            shortcut = functional.conv2d(
                maps, state[f"{prefix}{name}.downsample.0.weight"], stride=stride
            )
            shortcut = _norm(state, f"{prefix}{name}.downsample.1", shortcut)
        inner = functional.conv2d(
            maps, state[f"{prefix}{name}.conv1.weight"], stride=stride, padding=1
        )
        inner = torch.relu(_norm(state, f"{prefix}{name}.bn1", inner))
        inner = functional.conv2d(inner, state[f"{prefix}{name}.conv2.weight"], padding=1)
        maps = torch.relu(_norm(state, f"{prefix}{name}.bn2", inner) + shortcut)
    return maps.mean(dim=(2, 3))


def _random_resnet18(make: "_Maker", prefix: str, channels: int) -> None:
    make.layer(f"{prefix}conv1", (64, channels, 7, 7), bias=False)
    make.norm(f"{prefix}bn1", 64)
    for name, stride, before, after in _blocks():
        make.layer(f"{prefix}{name}.conv1", (after, before, 3, 3), bias=False)
        make.norm(f"{prefix}{name}.bn1", after)
        make.layer(f"{prefix}{name}.conv2", (after, after, 3, 3), bias=False)
        make.norm(f"{prefix}{name}.bn2", after)
        if stride != 1 or before != after:
            make.layer(f"{prefix}{name}.downsample.0", (after, before, 1, 1), bias=False)
            make.norm(f"{prefix}{name}.downsample.1", after)


def _blocks() -> Iterator[tuple[str, int, int, int]]:
    """Name, stride, channels before and after of the eight blocks."""
    before = 64
    for layer, after in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            yield f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1, before, after
            before = after


def _norm(state: State, name: str, maps: Tensor) -> Tensor:
    shape = (1, -1) + (1,) * (maps.ndim - 2)
    mean, variance = (state[f"{name}.running_{one}"].view(shape) for one in ("mean", "var"))
    gain, shift = (state[f"{name}.{one}"].view(shape) for one in ("weight", "bias"))
    return (maps - mean) / (variance + 1e-5).sqrt() * gain + shift


class _Maker:
    def __init__(self, state: State, seed: int) -> None:
        self._state = state
        self._random = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._random)

    def layer(
        self, name: str, shape: tuple[int, ...], *, bias: bool, bias_size: int | None = None
    ) -> None:
        inputs = math.prod(shape[1:])
        self._state[f"{name}.weight"] = self.normal(*shape) * (1.5 / inputs) ** 0.5
        if bias:
            self._state[f"{name}.bias"] = 0.1 * self.normal(bias_size or shape[0])

    def norm(self, name: str, size: int) -> None:
        self._state[f"{name}.weight"] = 1 + 0.1 * self.normal(size)
        self._state[f"{name}.bias"] = 0.1 * self.normal(size)
        self._state[f"{name}.running_mean"] = 0.1 * self.normal(size)
        self._state[f"{name}.running_var"] = 1 + 0.1 * self.normal(size).abs()
        self._state[f"{name}.num_batches_tracked"] = torch.tensor(100)

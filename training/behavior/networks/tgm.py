"""Sequence models over stored features: the temporal Gaussian mixture (TGM) and two simple ones."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.behavior.networks.base import WindowSequence

_LENGTH = 15
"""Frames of a temporal filter."""
_STACK = 8
"""Copies of the features between the temporal layers, and filters that each layer mixes."""
_LAYERS = 3
_HIDDEN = 128


class Tgm(WindowSequence):
    """Features, and features smoothed by learned temporal bumps, each to logits; their mean.

    Temporal Gaussian mixture of Piergiovanni and Ryoo 2019 (arXiv 1803.06316) with the late
    fusion of Bohnslav et al. 2021 (eLife 10:e63377). Module names are those that DeepEthogram's
    weights go by; of those, `h2.*` and `tgm_layers.*.delta` do not exist here, since they never
    change an answer: whoever imports such weights leaves them out.

    Args:
        behaviors: K.
        feature_size: D.
        input_dropout: share of the features that training leaves out.
        dropout_p: share of the hidden features that training leaves out.
    """

    past_frames = _LAYERS * (_LENGTH // 2)
    future_frames = past_frames

    def __init__(
        self,
        behaviors: int,
        *,
        feature_size: int = 1024,
        input_dropout: float = 0.5,
        dropout_p: float = 0.5,
    ) -> None:
        super().__init__()
        self.tgm_layers = nn.ModuleList(
            _TgmLayer(1 if layer == 0 else _STACK) for layer in range(_LAYERS)
        )
        self.h = nn.Conv1d(feature_size, _HIDDEN, 1)
        norm, other_norm = nn.BatchNorm1d(behaviors), nn.BatchNorm1d(behaviors)
        other_norm.bias = norm.bias
        self.classify1 = nn.Sequential(nn.Conv1d(_HIDDEN, behaviors, 1, bias=False), norm)
        self.classify2 = nn.Sequential(nn.Conv1d(_HIDDEN, behaviors, 1, bias=False), other_norm)
        self.input_dropout = nn.Dropout(input_dropout)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """See WindowSequence."""
        features = _only_valid(features, valid).transpose(1, 2)
        stack = features[:, None]
        for layer in self.tgm_layers:
            # What a filter leaves outside of the recording is none of it.
            stack = layer(stack) * valid[:, None, None, :]
        smoothed = stack.amax(dim=1)
        logits = self._classify(self.classify1, features, valid)
        smoothed_logits = self._classify(self.classify2, smoothed, valid)
        return ((logits + smoothed_logits) / 2).transpose(1, 2)

    def start_at(self, bias: Tensor) -> None:
        """Set the bias (K,) of the last layers, so that training begins at the class shares."""
        with torch.no_grad():
            self.classify1.get_parameter("1.bias").copy_(bias)

    def _classify(self, classify: nn.Sequential, features: Tensor, valid: Tensor) -> Tensor:
        last, norm = classify
        hidden = functional.relu(self.h(self.input_dropout(features)))
        scores: Tensor = last(self.dropout(hidden))
        if not self.training:
            return norm(scores)  # type: ignore[no-any-return]
        inside = valid > 0  # only frames count in the statistics
        logits = torch.zeros_like(scores).transpose(1, 2)
        logits[inside] = norm(scores.transpose(1, 2)[inside])
        return logits.transpose(1, 2)


class LinearSequence(WindowSequence):
    """Logits of each frame's features alone.

    Args:
        behaviors: K.
        feature_size: D.
        dropout_p: share of the features that training leaves out.
    """

    past_frames = 0
    future_frames = 0

    def __init__(self, behaviors: int, *, feature_size: int = 1024, dropout_p: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_p)
        self.classify = nn.Linear(feature_size, behaviors)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """See WindowSequence."""
        logits: Tensor = self.classify(self.dropout(_only_valid(features, valid)))
        return logits

    def start_at(self, bias: Tensor) -> None:
        """Set the bias (K,) of the last layer, so that training begins at the class shares."""
        with torch.no_grad():
            self.classify.bias.copy_(bias)


class ConvSequence(WindowSequence):
    """Two temporal convolutions, of 7 and 3 frames, with 64 hidden features.

    Args:
        behaviors: K.
        feature_size: D.
        dropout_p: share of the features and hidden features that training leaves out.
    """

    past_frames = 3 + 1
    future_frames = 3 + 1

    def __init__(self, behaviors: int, *, feature_size: int = 1024, dropout_p: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_p)
        self.hide = nn.Conv1d(feature_size, 64, 7, padding=3)
        self.classify = nn.Conv1d(64, behaviors, 3, padding=1)

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """See WindowSequence."""
        features = self.dropout(_only_valid(features, valid)).transpose(1, 2)
        hidden = functional.relu(self.hide(features)) * valid[:, None, :]
        logits: Tensor = self.classify(self.dropout(hidden))
        return logits.transpose(1, 2)

    def start_at(self, bias: Tensor) -> None:
        """Set the bias (K,) of the last layer, so that training begins at the class shares."""
        assert self.classify.bias is not None, "the layer has a bias"
        with torch.no_grad():
            self.classify.bias.copy_(bias)


class _TgmLayer(nn.Module):
    """Filters a stack (B, c_in, D, T) of features over time; each filter is a mix of bumps.

    All features share the kernels. Each of the 8 output copies is a mean over the c_in input
    copies, each filtered by a kernel of its own, so that one convolution does both.
    """

    positions: Tensor

    def __init__(self, stack_in: int) -> None:
        super().__init__()
        self.stack_in = stack_in
        self.center = nn.Parameter(0.5 * torch.randn(_STACK))
        self.gamma = nn.Parameter(0.01 * torch.randn(_STACK))
        self.soft_attn = nn.Parameter(torch.randn(_STACK * stack_in, _STACK))
        if stack_in > 1:
            self.cls_attn = nn.Parameter(torch.randn(1, _STACK, stack_in, 1, 1))
        self.register_buffer(
            "positions", torch.arange(_LENGTH, dtype=torch.float32), persistent=False
        )

    def forward(self, stack: Tensor) -> Tensor:
        """Turn (B, c_in, D, T) into (B, 8, D, T)."""
        center = (_LENGTH - 1) * (torch.tanh(self.center) + 1) / 2
        width = torch.exp(1.5 - 2 * torch.tanh(self.gamma).abs())
        offsets = (self.positions - center[:, None]) / width[:, None]
        bumps = 1 / (math.pi * width[:, None] * (offsets**2 + 1))
        bumps = bumps / bumps.sum(dim=1, keepdim=True)
        kernels = (self.soft_attn.softmax(dim=1) @ bumps).view(_STACK, self.stack_in, 1, _LENGTH)
        if self.stack_in > 1:
            kernels = kernels * self.cls_attn[0].softmax(dim=1)
        stack = stack.contiguous(memory_format=torch.channels_last)  # a third faster to train
        return functional.conv2d(stack, kernels, padding=(0, _LENGTH // 2))


def _only_valid(features: Tensor, valid: Tensor) -> Tensor:
    """Set features (B, T, D) to zero where there is no frame, whatever stands there."""
    return torch.where(valid[..., None] > 0, features, torch.zeros_like(features))

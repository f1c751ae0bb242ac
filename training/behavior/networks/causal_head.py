"""The sequence model of preset `realtime`: causal, with a constant price a frame."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_KERNEL = 3
"""Frames that each temporal convolution looks at."""


class CausalHead(nn.Module):
    """Causal dilated temporal convolutions (van den Oord et al. 2016) over stored features.

    The cost of a frame is constant. Each layer keeps the last inputs that its next outputs need;
    all of them, one after another, are the state, and a state of zeros starts a recording. The
    logits are the mean of those of the frame alone and those of its past.

    Args:
        feature_size: D.
        behaviors: C.
        width: channels of the convolutions.
        dilations: frames between the inputs of each layer; the head looks at
            1 + 2 * sum(dilations) frames.
        dropout: of the input and of the last maps.
    """

    def __init__(
        self,
        feature_size: int,
        behaviors: int,
        *,
        width: int,
        dilations: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.kept_frames = tuple((_KERNEL - 1) * dilation for dilation in dilations)
        self.state_size = width * sum(self.kept_frames)
        self.memory_frames = sum(self.kept_frames)
        """Frames before an answered one that the head looks at."""
        self.dropout = nn.Dropout(dropout)
        self.reduce = nn.Linear(feature_size, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, _KERNEL, dilation=dilation) for dilation in dilations
        )
        self.classify_frame = nn.Linear(width, behaviors)
        self.classify_past = nn.Linear(width, behaviors)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, T, C) and the next state (B, S).

        Args:
            features: (B, T, D).
            state: (B, S), what the call for the frames before returned, or zeros.
        """
        frame = functional.relu(self.reduce(self.dropout(features)))
        maps = frame.transpose(1, 2)
        sizes = [self.width * kept for kept in self.kept_frames]
        kept_states = []
        memories = torch.split(state, sizes, dim=1)
        for layer, kept, memory in zip(self.layers, self.kept_frames, memories, strict=True):
            before = memory.reshape(-1, self.width, kept)
            joined = torch.cat([before, maps], dim=2)
            kept_states.append(joined[:, :, -kept:].flatten(1))
            maps = maps + functional.relu(layer(joined))
        past = self.dropout(maps.transpose(1, 2))
        logits = 0.5 * (self.classify_frame(frame) + self.classify_past(past))
        return logits, torch.cat(kept_states, dim=1)

    def whole(self, features: Tensor) -> Tensor:
        """Return the logits (B, T, C) of stretches that begin with a state of zeros."""
        start = features.new_zeros(len(features), self.state_size)
        logits, _ = self.forward(features, start)
        return logits

"""The network: a window of pose features to the logits of its answered frame."""

import torch
from torch import Tensor, nn


class KeypointNetwork(nn.Module):
    """Z-scored features of a window, then linear layers with ReLU and dropout.

    The layout is DeepEthogram's for keypoints (Bohnslav et al. 2021, eLife 10:e63377). A feature
    that is NaN counts as its mean.

    Args:
        features: D.
        window_frames: T.
        behaviors: K.
        hidden: widths of the hidden layers.
        dropout: share of hidden units that each training step leaves out.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: int,
        window_frames: int,
        behaviors: int,
        *,
        hidden: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        layers: list[nn.Module] = []
        before = features * window_frames
        for width in hidden:
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(dropout)]
            before = width
        self.body = nn.Sequential(*layers)
        self.classify = nn.Linear(before, behaviors)

    def standardize_by(self, mean: Tensor, std: Tensor) -> None:
        """Set what (D,) features are z-scored by."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, K) of windows (B, T, D) float32."""
        scored = torch.nan_to_num((windows - self.mean) / self.std)
        logits: Tensor = self.classify(self.body(scored.flatten(1)))
        return logits

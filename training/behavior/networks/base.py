"""What a network of each stage takes and gives, whatever the preset."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class FlowGenerator(nn.Module, ABC):
    """Consecutive frames to the optic flow between each two neighbors, at several scales.

    A flow is in px of the model input per frame: what is at (x, y) in one frame is at
    (x, y) + flow in the next one.
    """

    input_frames: int
    """W, consecutive frames of one call."""

    @abstractmethod
    def forward(self, frames: Tensor) -> list[Tensor]:
        """Return the flows (B, W - 1, 2, h, w): at half the input's size, then coarser ones.

        Args:
            frames: (B, W, H, W_px, C) uint8, C is 1 (gray) or 3 (RGB); H and W_px multiples of 8.
        """


class FeatureExtractor(nn.Module, ABC):
    """A frame and the flows around it to a vector of features and to logits."""

    input_frames: int
    """Frames of one call: 1, or flow_frames + 1."""
    flow_frames: int
    """F, flows of one call."""
    feature_size: int
    """D."""

    @abstractmethod
    def forward(self, frames: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and logits (B, K) of K behaviors.

        Args:
            frames: (B, H, W_px, C) uint8, or (B, F + 1, H, W_px, C) where input_frames is more
                than 1; C is 1 (gray) or 3 (RGB).
            flows: (B, F, 2, H/2, W_px/2) px of the model input per frame.
        """

    def pretrained(self) -> list[nn.Parameter]:
        """The parameters that ImageNet weights were loaded into; they learn more slowly."""
        return []

    @abstractmethod
    def last_layers(self) -> list[nn.Linear]:
        """The layers with one output a behavior."""

    def start_at(self, bias: Tensor) -> None:
        """Set the bias (K,) of the last layers, so that training begins at the class shares."""
        with torch.no_grad():
            for layer in self.last_layers():
                layer.bias.copy_(bias)


class WindowSequence(nn.Module, ABC):
    """A sequence model that looks at features before and after a frame."""

    past_frames: int
    future_frames: int
    """Frames before and after an answered one that can change its logits."""

    @abstractmethod
    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Return logits (B, T, K).

        A window that holds `past_frames` before and `future_frames` after a frame gives it the
        same logits as the whole recording does.

        Args:
            features: (B, T, D); anything where there is no frame.
            valid: (B, T) float, 1 where there is a frame, 0 before a recording's first frame and
                after its last one.
        """

    @abstractmethod
    def start_at(self, bias: Tensor) -> None:
        """Set the bias (K,) of the last layers, so that training begins at the class shares."""


class Standardize(nn.Module):
    """Bytes to z-scored colors: what the DeepEthogram presets look at."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, frames: Tensor) -> Tensor:
        """Turn (..., C) uint8 into (..., 3) float32: gray repeated, / 255, minus mean, / std."""
        colors = frames.to(torch.float32) / 255.0
        if colors.shape[-1] == 1:
            colors = colors.expand(*colors.shape[:-1], 3)
        return (colors - self.mean) / self.std

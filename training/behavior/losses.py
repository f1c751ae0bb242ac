"""Classification losses that leave out what is not labelled, and the weights of rare behaviors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

CLASS_WEIGHT_EXPONENT = 0.25
LABEL_SMOOTHING = 0.05
_FOCUS = 1.0
"""Exponent of the focal factor."""


class BehaviorLoss(nn.Module):
    """Focal loss of multi-label behaviors, or cross-entropy of exclusive ones.

    Multi-label: binary cross-entropy with positives weighted by (negatives / positives) ** 0.25
    and each term by (1 - p) of its right answer, summed over behaviors (Lin et al. 2017, arXiv
    1708.02002, as DeepEthogram uses it). Exclusive: weights (1 / count) ** 0.25, of mean 1.

    Args:
        counts: (C,) labelled positive frames.
        frames: labelled frames.
        exclusive: whether one behavior a frame is present.
    """

    def __init__(self, counts: NDArray[np.int64], frames: int, *, exclusive: bool) -> None:
        super().__init__()
        self._exclusive = exclusive
        positives = np.maximum(counts, 1)
        odds = 1.0 / positives if exclusive else np.maximum(frames - counts, 1) / positives
        weights = odds**CLASS_WEIGHT_EXPONENT
        if exclusive:
            weights = weights / weights.mean()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        self.weights: Tensor

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of the labelled frames; 0 where none is.

        Args:
            logits: (..., C) float.
            labels: (..., C): 1, 0 or -1 (not labelled).
        """
        logits = logits.float().flatten(0, -2)
        labels = labels.flatten(0, -2)
        weights = self.weights.to(logits.device)  # held-out logits are gathered on the host
        if self._exclusive:
            known = (labels >= 0).all(dim=1)
            loss = functional.cross_entropy(
                logits,
                labels.argmax(dim=1),
                weights,
                reduction="none",
                label_smoothing=LABEL_SMOOTHING,
            )
            return (loss * known).sum() / known.sum().clamp(min=1)
        known = labels >= 0
        truth = (labels == 1).float()
        smoothed = truth * (1 - 2 * LABEL_SMOOTHING) + LABEL_SMOOTHING
        terms = functional.binary_cross_entropy_with_logits(
            logits, smoothed, pos_weight=weights, reduction="none"
        )
        probability = torch.sigmoid(logits)
        missed = torch.where(truth > 0, 1 - probability, probability).clamp(1e-7, 1 - 1e-7)
        terms = terms * missed**_FOCUS * known
        return terms.sum() / known.any(dim=1).sum().clamp(min=1)


def starting_bias(counts: NDArray[np.int64], frames: int) -> Tensor:
    """Return the (C,) logits of the behaviors' shares, where an untrained network begins."""
    positives = np.maximum(counts, 1)
    odds = positives / np.maximum(frames - counts, 1)
    return torch.tensor(np.clip(np.log(odds), -4, 4), dtype=torch.float32)

"""The Lightning task of a training on keypoints: steps, held-out figures and optimizer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.behavior import BACKGROUND, probabilities
from service.behavior_statistics import agreement, best_thresholds, mean_defined
from training.behavior.keypoints.data import WindowBatch
from training.behavior.keypoints.network import KeypointNetwork
from training.behavior.keypoints.settings import KeypointTraining
from training.behavior.losses import BehaviorLoss
from training.scheduled_task import ScheduledTask

MONITOR = "heldout_macro_f1"
"""At the best thresholds of the epoch, without background, as DeepEthogram chooses epochs."""


class KeypointTask(ScheduledTask):
    """Trains a network on windows of keypoint features.

    Args:
        network: what is trained.
        loss: over labelled frames.
        settings: of the training.
    """

    def __init__(
        self,
        network: KeypointNetwork,
        loss: BehaviorLoss,
        settings: KeypointTraining,
    ) -> None:
        super().__init__(learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
        self.network = network
        self.loss = loss
        self._settings = settings
        self._held_out: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch of windows."""
        loss: Tensor = self.loss(self.network(batch["windows"]), batch["labels"])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["labels"]))
        return loss

    def validation_step(self, batch: WindowBatch, batch_idx: int) -> None:
        """Keep the logits of held-out windows, whose figures are those of all together."""
        self._held_out.append((self.network(batch["windows"]).float().cpu(), batch["labels"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log loss and macro F1 of all held-out frames."""
        logits = torch.cat([one for one, _ in self._held_out])
        labels = torch.cat([one for _, one in self._held_out])
        self._held_out.clear()
        macro_f1 = best_macro_f1(logits.numpy(), labels.numpy(), self._settings)
        self.log_dict({"heldout_loss": self.loss(logits, labels), MONITOR: macro_f1})


def best_macro_f1(
    logits: NDArray[np.float32], labels: NDArray[np.int8], settings: KeypointTraining
) -> float:
    """Macro F1 without background, at the thresholds that suit these very frames best.

    Args:
        logits: (N, C).
        labels: (N, C); frames that are not labelled whole are left out.
        settings: of the training.

    Returns:
        In [0, 1]; 0 where no F1 is defined, so that such an epoch is never the best.
    """
    known = (labels >= 0).all(axis=1)
    if not known.any():
        return 0.0
    values = probabilities(logits[known], exclusive=settings.exclusive)
    truth = labels[known] == 1
    shown = decide(values, best_thresholds(truth, values), exclusive=settings.exclusive)
    named = [one for one, name in enumerate(settings.behaviors) if name != BACKGROUND]
    return float(np.nan_to_num(mean_defined(agreement(truth, shown).f1[named])))


def decide(
    values: NDArray[np.float32], thresholds: NDArray[np.float64], *, exclusive: bool
) -> NDArray[np.bool_]:
    """Say which behaviors are present, (T, C) bool, by probabilities (T, C) that are not NaN."""
    if exclusive:
        return np.asarray(np.arange(values.shape[1]) == values.argmax(axis=1)[:, None])
    return np.asarray(values >= thresholds)

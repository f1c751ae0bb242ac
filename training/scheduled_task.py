"""The optimizer and the course of the learning rate that trainings share."""

import math
from typing import Any

import torch
from lightning import LightningModule


class ScheduledTask(LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """AdamW, a short linear rise of the learning rate and a cosine to 0."""

    warm_up_steps = 100
    """Of the rise, at most; short trainings rise for a tenth of their steps."""

    def __init__(self, *, learning_rate: float, weight_decay: float, total_steps: int) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._total_steps = total_steps

    def configure_optimizers(self) -> dict[str, Any]:
        """See the class."""
        optimizer = torch.optim.AdamW(self._groups(), weight_decay=self._weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        trained = [one for one in self.parameters() if one.requires_grad]
        return [{"params": trained, "lr": self._learning_rate}]

    def _learning_rate_factor(self, step: int) -> float:
        warm_up = max(1, min(self.warm_up_steps, self._total_steps // 10))
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, self._total_steps - warm_up))
        return 0.5 * (1 + math.cos(math.pi * done))

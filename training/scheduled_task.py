"""The optimizer and the course of the learning rate that trainings share."""

import math
from functools import partial
from typing import Any

import torch
from lightning import LightningModule


class ScheduledTask(LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """AdamW, a short linear rise of the learning rate and a cosine to 0."""

    warm_up_steps = 100
    """Of the rise, at most; short trainings rise for a tenth of their steps."""

    def __init__(self, *, learning_rate: float, weight_decay: float) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay

    def configure_optimizers(self) -> dict[str, Any]:
        """See the class; the schedule ends with the last step of this process."""
        optimizer = torch.optim.AdamW(self._groups(), weight_decay=self._weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(_learning_rate_factor, steps, min(self.warm_up_steps, steps // 10))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        trained = [one for one in self.parameters() if one.requires_grad]
        return [{"params": trained, "lr": self._learning_rate}]


def _learning_rate_factor(steps: int, warm_up_steps: int, step: int) -> float:
    warm_up = max(1, warm_up_steps)
    if step < warm_up:
        return (step + 1) / warm_up
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return 0.5 * (1 + math.cos(math.pi * done))

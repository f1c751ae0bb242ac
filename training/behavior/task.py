"""The three tasks of behavior training: steps, held-out figures and optimizers."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor

from service.behavior import probabilities
from service.behavior_statistics import agreement
from training.behavior.flow import FlowNetwork, flow_loss, gray_pairs
from training.behavior.losses import BehaviorLoss
from training.behavior.model import FeatureNetwork, SequenceHead
from training.data.behavior_windows import SequenceSample, WindowSample

MONITOR = "heldout_loss"
_BACKBONE_FACTOR = 0.3
"""Pretrained layers learn more slowly than new ones."""
_FIXED_BLOCKS = 4
"""First blocks of the backbone, edges and textures, which stay as ImageNet left them: they are
half of the training's cost, and a few hundred clips do not improve them."""


class _Task(LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """AdamW, a short linear rise of the learning rate and a cosine to 0."""

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
        warm_up = max(1, min(100, self._total_steps // 10))
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, self._total_steps - warm_up))
        return 0.5 * (1 + math.cos(math.pi * done))


class FlowTask(_Task):
    """Trains a `FlowNetwork` on frame pairs, without labels."""

    def __init__(self, network: FlowNetwork, **optimizer: Any) -> None:
        super().__init__(**optimizer)
        self.network = network.to(memory_format=torch.channels_last)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one batch of pairs (B, 2, H, W, C) uint8."""
        loss, _ = self._loss(batch)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log loss, SSIM of the rebuilt frame, L1 and smoothness of held-out pairs."""
        loss, figures = self._loss(batch)
        named = {f"heldout_{name}": value for name, value in figures.items()}
        self.log_dict({MONITOR: loss, **named}, on_epoch=True, batch_size=len(batch))

    def _loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        pairs = gray_pairs(batch)
        flows = [flow.float() for flow in self.network(pairs)]
        # The variances of SSIM are differences of near-equal numbers: half precision loses them.
        with torch.autocast(pairs.device.type, enabled=False):
            return flow_loss(pairs, flows)


class _ClassifyingTask(_Task):
    """Gathers held-out logits of an epoch for the F1 of all of them together."""

    def __init__(self, loss: BehaviorLoss, *, exclusive: bool, **optimizer: Any) -> None:
        super().__init__(**optimizer)
        self.loss = loss
        self._exclusive = exclusive
        self._held_out: list[tuple[Tensor, Tensor]] = []

    def on_validation_epoch_end(self) -> None:
        """Log loss and macro F1 at 0.5 of all held-out frames."""
        logits = torch.cat([one.flatten(0, -2).float() for one, _ in self._held_out])
        labels = torch.cat([one.flatten(0, -2) for _, one in self._held_out])
        self._held_out.clear()
        known = (labels >= 0).all(dim=1)
        values = probabilities(logits[known].numpy(), exclusive=self._exclusive)
        if self._exclusive:
            shown = np.eye(values.shape[1], dtype=np.bool_)[values.argmax(axis=1)]
        else:
            shown = values >= 0.5
        macro_f1 = agreement(labels[known].numpy() == 1, shown).macro_f1
        self.log_dict({MONITOR: self.loss(logits, labels), "heldout_macro_f1": macro_f1})

    def _keep(self, logits: Tensor, labels: Tensor) -> None:
        self._held_out.append((logits.detach().cpu(), labels.cpu()))


class FeatureTask(_ClassifyingTask):
    """Trains a `FeatureNetwork` on labelled windows; the flow network stays as it is."""

    def __init__(self, network: FeatureNetwork, flow: FlowNetwork, **rest: Any) -> None:
        super().__init__(**rest)
        self.network = network.to(memory_format=torch.channels_last)
        blocks = list(network.backbone.get_submodule("features").children())
        for block in blocks[:_FIXED_BLOCKS]:
            block.requires_grad_(False)
        # A tuple hides the frozen network from Lightning: not trained, not stored twice.
        self._flow = (flow.eval().to(memory_format=torch.channels_last),)

    def training_step(self, batch: WindowSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of windows."""
        loss: Tensor = self.loss(self._logits(batch), batch["labels"])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["labels"]))
        return loss

    def validation_step(self, batch: WindowSample, batch_idx: int) -> None:
        """Keep the logits of held-out windows."""
        self._keep(self._logits(batch), batch["labels"])

    def _logits(self, batch: WindowSample) -> Tensor:
        frames = batch["frames"]
        flows = window_flows(self._flow[0].to(frames.device), frames)
        _, logits = self.network(frames[:, -1], flows)
        return logits  # type: ignore[no-any-return]

    def _groups(self) -> list[dict[str, Any]]:
        pretrained = list(self.network.backbone.parameters())
        known = {id(one) for one in pretrained}
        fresh: Iterable[Tensor] = [one for one in self.parameters() if id(one) not in known]
        tuned = [one for one in pretrained if one.requires_grad]
        return [
            {"params": fresh, "lr": self._learning_rate},
            {"params": tuned, "lr": self._learning_rate * _BACKBONE_FACTOR},
        ]


class SequenceTask(_ClassifyingTask):
    """Trains a `SequenceHead` on stretches of stored features."""

    def __init__(self, network: SequenceHead, **rest: Any) -> None:
        super().__init__(**rest)
        self.network = network

    def training_step(self, batch: SequenceSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of stretches."""
        loss: Tensor = self.loss(self.network.whole(batch["features"]), batch["labels"])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["labels"]))
        return loss

    def validation_step(self, batch: SequenceSample, batch_idx: int) -> None:
        """Keep the logits of held-out stretches."""
        self._keep(self.network.whole(batch["features"]), batch["labels"])


@torch.no_grad()
def window_flows(flow: FlowNetwork, frames: Tensor) -> Tensor:
    """Return the flows (B, T - 1, 2, H/2, W/2) of windows (B, T, H, W, C) uint8."""
    finest: Tensor = flow(gray_pairs(frames))[0]
    return finest.float().reshape(len(frames), -1, *finest.shape[1:])

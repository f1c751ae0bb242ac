"""The pose task: loss, held-out error and optimizer of `PoseNetwork`."""

import math
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional

from training.data.frames import HeldOutSample, PoseSample
from training.pose.model import PoseMaps, PoseNetwork, locate

_HUBER_DELTA = 0.25
"""Offsets count squared up to this error (in strides) and linearly beyond it."""


class PoseTask(LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """Trains a `PoseNetwork`.

    The loss is that of DeepLabCut (Mathis et al. 2018, arXiv 1804.03142): cross-entropy on the
    score maps and Huber on the offsets of the cells in a keypoint's disc. Keypoints that are not
    labelled take no part.

    Args:
        network: what is trained.
        learning_rate: peak of the learning rate; the backbone learns at a third of it.
        weight_decay: of AdamW.
        total_steps: length of the training, for the schedule: linear rise, then cosine to 0.
        disc_cells: cells in a keypoint's disc, so that its loss counts per cell of the disc.
        offset_weight: weight of the offsets' loss.
    """

    def __init__(
        self,
        network: PoseNetwork,
        *,
        learning_rate: float,
        weight_decay: float,
        total_steps: int,
        disc_cells: float,
        offset_weight: float,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._total_steps = total_steps
        self._disc_cells = disc_cells
        self._offset_weight = offset_weight

    def training_step(self, batch: PoseSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of views."""
        loss = self._loss(self.network(batch["frames"]), batch)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["frames"]))
        return loss

    def validation_step(
        self, batch: HeldOutSample, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log loss and mean error of held-out frames: labelled ones, then simulated ones."""
        prefix = ("heldout", "simulated")[dataloader_idx]
        maps = self.network(batch["frames"])
        found = locate(maps)[:, 0, :, :2]
        frame_xy = (found - batch["frame_offset"][:, None]) / batch["frame_scale"][:, None]
        errors = (frame_xy - batch["keypoints_xy"]).norm(dim=2)
        labelled = errors.isfinite()
        figures = {
            f"{prefix}_loss": self._loss(maps, batch),
            f"{prefix}_error_px": errors[labelled].mean(),
        }
        self.log_dict(
            figures,
            on_step=False,
            on_epoch=True,
            add_dataloader_idx=False,
            batch_size=int(labelled.sum()),
        )

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW; the pretrained layers learn more slowly than the new ones."""
        pretrained = list(self.network.backbone.parameters())
        known = {id(parameter) for parameter in pretrained}
        fresh = [one for one in self.network.parameters() if id(one) not in known]
        optimizer = torch.optim.AdamW(
            [
                {"params": fresh, "lr": self._learning_rate},
                {"params": pretrained, "lr": self._learning_rate / 3},
            ],
            weight_decay=self._weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _learning_rate_factor(self, step: int) -> float:
        warm_up = max(1, min(200, self._total_steps // 10))
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, self._total_steps - warm_up))
        return 0.5 * (1 + math.cos(math.pi * done))

    def _loss(self, maps: PoseMaps, batch: PoseSample) -> Tensor:
        labelled = batch["labelled"]
        keypoints = labelled.sum().clamp(min=1)
        scores = functional.binary_cross_entropy_with_logits(
            maps.score_logits.float(), batch["scores"], reduction="none"
        )
        score_loss = (scores.sum(dim=(2, 3)) * labelled).sum() / (keypoints * self._disc_cells)
        offsets = functional.huber_loss(
            maps.offsets.float(), batch["offsets"], reduction="none", delta=_HUBER_DELTA
        ).sum(dim=2)
        discs = batch["scores"]
        offset_loss = (offsets * discs).sum() / (discs.sum().clamp(min=1) * _HUBER_DELTA)
        return score_loss + self._offset_weight * offset_loss

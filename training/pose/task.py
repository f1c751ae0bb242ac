"""The pose task: loss, held-out error and optimizer of `PoseNetwork`."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from service.targets import TargetSpec
from training.data.frames import HeldOutSample, PoseSample
from training.pose.model import PoseMaps, PoseNetwork, locate
from training.scheduled_task import ScheduledTask

_HUBER_DELTA = 0.25
"""Offsets count squared up to this error (in offset units) and linearly beyond it."""


class PoseTask(ScheduledTask):
    """Trains a `PoseNetwork`.

    The loss is that of DeepLabCut: Huber on the offsets near a keypoint, and on the score maps
    cross-entropy where targets are discs (Mathis et al. 2018, arXiv 1804.03142) or the squared
    error where they are Gaussians (DeepLabCut 3). Keypoints that are not labelled take no part.

    Args:
        network: what is trained.
        target: geometry of the maps.
        learning_rate: peak of the learning rate; the backbone learns at a third of it.
        weight_decay: of AdamW.
        offset_weight: weight of the offsets' loss.
    """

    warm_up_steps = 200

    def __init__(
        self,
        network: PoseNetwork,
        *,
        target: TargetSpec,
        learning_rate: float,
        weight_decay: float,
        offset_weight: float,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay)
        self.network = network.to(memory_format=torch.channels_last)
        self._target = target
        self._offset_weight = offset_weight

    def training_step(self, batch: PoseSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of views."""
        loss = self._loss(self.network(batch["frames"]), batch)
        self.log(
            "loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(batch["frames"]),
            sync_dist=True,
        )
        return loss

    def validation_step(
        self, batch: HeldOutSample, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log loss and mean error of held-out frames: labelled ones, then simulated ones."""
        prefix = ("heldout", "simulated")[dataloader_idx]
        maps = self.network(batch["frames"])
        errors = self._errors_px(maps, batch)
        if not errors.numel():
            return
        figures = {f"{prefix}_loss": self._loss(maps, batch), f"{prefix}_error_px": errors.mean()}
        self.log_dict(
            figures,
            on_step=False,
            on_epoch=True,
            add_dataloader_idx=False,
            batch_size=errors.numel(),
            sync_dist=True,
        )

    def _groups(self) -> list[dict[str, Any]]:
        """Pretrained layers learn more slowly than new ones."""
        pretrained = list(self.network.backbone.parameters())
        known = {id(parameter) for parameter in pretrained}
        fresh = [one for one in self.network.parameters() if id(one) not in known]
        return [
            {"params": fresh, "lr": self._learning_rate},
            {"params": pretrained, "lr": self._learning_rate / 3},
        ]

    def _errors_px(self, maps: PoseMaps, batch: HeldOutSample) -> Tensor:
        """Distances in px of the frame of each labelled keypoint to the nearest found one.

        As many local maxima are looked at as animals are labelled.
        """
        labels = batch["keypoints_xy"]  # (B, N, K, 2)
        found = locate(maps, self._target, animals=labels.shape[1])[..., :2]
        offset, scale = batch["frame_offset"], batch["frame_scale"]
        frame_xy = (found - offset[:, None, None]) / scale[:, None, None]
        distances = (labels[:, :, None] - frame_xy[:, None]).norm(dim=4).amin(dim=2)
        known: Tensor = distances[distances.isfinite()]
        return known

    def _loss(self, maps: PoseMaps, batch: PoseSample) -> Tensor:
        loss = self._score_loss(maps.scores, batch)
        if maps.intermediate_scores is not None:
            loss = loss + self._score_loss(maps.intermediate_scores, batch)
        near = batch["near"] * batch["known"][:, :, None, None]
        offsets = functional.huber_loss(
            maps.offsets.float(), batch["offsets"], reduction="none", delta=_HUBER_DELTA
        ).sum(dim=2)
        offset_loss = (offsets * near).sum() / (near.sum().clamp(min=1) * _HUBER_DELTA)
        return loss + self._offset_weight * offset_loss

    def _score_loss(self, scores: Tensor, batch: PoseSample) -> Tensor:
        if self._target.kind == "disc":
            losses = functional.binary_cross_entropy_with_logits(
                scores.float(), batch["scores"], reduction="none"
            )
        else:
            losses = (scores.float() - batch["scores"]).square() * _SQUARED_ERROR_SCALE
        known = batch["known"]
        # Per cell of a disc: the many empty cells count as much as they are wrong.
        cells = known.sum().clamp(min=1) * self._target.disc_cells
        loss: Tensor = (losses.sum(dim=(2, 3)) * known).sum() / cells
        return loss


_SQUARED_ERROR_SCALE = 4.0
"""Brings the squared error of confidences to the size of their cross-entropy."""

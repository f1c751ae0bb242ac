"""The three tasks of behavior training: steps, held-out figures and optimizers."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from service.behavior import probabilities
from service.behavior_statistics import agreement, mean_defined
from training.behavior.features import window_flows
from training.behavior.flow import flow_loss
from training.behavior.losses import BehaviorLoss
from training.behavior.networks.base import FeatureExtractor, FlowGenerator
from training.behavior.networks.two_stream import TwoStream
from training.behavior.presets import SequenceModel, whole_logits
from training.data.behavior_windows import SequenceSample, WindowSample
from training.scheduled_task import ScheduledTask

Network = TypeVar("Network", bound=torch.nn.Module)
_LOSS, _F1, _NAMED_F1 = (
    "heldout_loss",
    "heldout_macro_f1",
    "heldout_macro_f1_without_background",
)
"""What is logged of the validation recordings; each task names what chooses its epoch, those of
features and sequence as DeepEthogram does (Bohnslav et al. 2021, eLife 10:e63377)."""
_BACKBONE_FACTOR = 0.3
"""Pretrained layers learn more slowly than new ones."""


class FlowTask(ScheduledTask):
    """Trains a flow generator on near frames, without labels.

    Args:
        network: to train.
        smoothness_factor: on the weights of the flow's gradients.
        sparsity_weight: of the flow's mean amount.
    """

    monitor = _LOSS
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        network: FlowGenerator,
        *,
        smoothness_factor: float,
        sparsity_weight: float,
        **optimizer: Any,
    ) -> None:
        super().__init__(**optimizer)
        self.network = _channels_last(network)
        self._weights = {
            "smoothness_factor": smoothness_factor,
            "sparsity_weight": sparsity_weight,
        }

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one batch of frames (B, W, H, W_px, C) uint8."""
        loss, _ = self._loss(batch)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log loss, SSIM of the rebuilt frame, L1 and smoothness of held-out frames."""
        loss, figures = self._loss(batch)
        named = {f"heldout_{name}": value for name, value in figures.items()}
        self.log_dict({_LOSS: loss, **named}, on_epoch=True, batch_size=len(batch))

    def _loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        flows = [flow.float() for flow in self.network(batch)]
        # The variances of SSIM are differences of near-equal numbers: half precision loses them.
        with torch.autocast(batch.device.type, enabled=False):
            return flow_loss(batch, flows, **self._weights)


class _ClassifyingTask(ScheduledTask):
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
        figures = agreement(labels[known].numpy() == 1, shown)
        named = figures.f1[1:] if self._exclusive else figures.f1  # background comes first
        self.log_dict(
            {
                _LOSS: self.loss(logits, labels),
                _F1: float(np.nan_to_num(figures.macro_f1)),
                _NAMED_F1: float(np.nan_to_num(mean_defined(named))),
            }
        )

    def _keep(self, logits: Tensor, labels: Tensor) -> None:
        self._held_out.append((logits.detach().cpu(), labels.cpu()))


class FeatureTask(_ClassifyingTask):
    """Trains a feature extractor on labelled windows; the flow generator stays as it is.

    Args:
        network: to train.
        flow: is not trained.
        answered: which frame of a window is the answered one.
        l2_sp: penalties as in the settings.
        curriculum_epochs: epochs of the pixels alone, and then of the flows alone.
    """

    monitor = _NAMED_F1
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        network: FeatureExtractor,
        flow: FlowGenerator,
        *,
        answered: int,
        l2_sp: tuple[float, float] | None,
        curriculum_epochs: int,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.network = _channels_last(network)
        # A tuple hides the frozen network from Lightning: not trained, not stored twice.
        self._flow = (_channels_last(flow.eval()),)
        self._answered = answered
        self._curriculum_epochs = curriculum_epochs
        self._penalty = Anchor(network, *l2_sp) if l2_sp is not None else None

    def training_step(self, batch: WindowSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of windows."""
        loss: Tensor = self.loss(self._training_logits(batch), batch["labels"])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["labels"]))
        if self._penalty is not None:
            loss = loss + self._penalty(self.network)
        return loss

    def validation_step(self, batch: WindowSample, batch_idx: int) -> None:
        """Keep the logits of held-out windows."""
        self._keep(self._logits(batch), batch["labels"])

    def _training_logits(self, batch: WindowSample) -> Tensor:
        if isinstance(self.network, TwoStream):
            if self.current_epoch < self._curriculum_epochs:
                return self.network.spatial_stream(self._frames(batch))[1]
            if self.current_epoch < 2 * self._curriculum_epochs:
                return self.network.flow_stream(self._flows(batch))[1]
        return self._logits(batch)

    def _logits(self, batch: WindowSample) -> Tensor:
        logits: Tensor = self.network(self._frames(batch), self._flows(batch))[1]
        return logits

    def _frames(self, batch: WindowSample) -> Tensor:
        frames = batch["frames"]
        return frames if self.network.input_frames > 1 else frames[:, self._answered]

    def _flows(self, batch: WindowSample) -> Tensor:
        frames = batch["frames"]
        with torch.no_grad():
            return window_flows(self._flow[0].to(frames.device), frames)

    def _groups(self) -> list[dict[str, Any]]:
        pretrained = self.network.pretrained()
        known = {id(one) for one in pretrained}
        fresh: Iterable[Tensor] = [one for one in self.parameters() if id(one) not in known]
        tuned = [one for one in pretrained if one.requires_grad]
        return [
            {"params": fresh, "lr": self._learning_rate},
            {"params": tuned, "lr": self._learning_rate * _BACKBONE_FACTOR},
        ]


class SequenceTask(_ClassifyingTask):
    """Trains a sequence model on stretches of stored features.

    Args:
        network: to train.
        l2: penalty on its squared weights, halved.
    """

    monitor = _F1
    mode: Literal["min", "max"] = "max"

    def __init__(self, network: SequenceModel, *, l2: float, **rest: Any) -> None:
        super().__init__(**rest)
        self.network = network
        self._l2 = l2

    def training_step(self, batch: SequenceSample, batch_idx: int) -> Tensor:
        """Return the loss of one batch of stretches."""
        logits = whole_logits(self.network, batch["features"], batch["valid"])
        loss: Tensor = self.loss(logits, batch["labels"])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["labels"]))
        for name, weights in self.network.named_parameters():
            if self._l2 and is_penalized(name, weights):
                loss = loss + self._l2 / 2 * weights.square().sum()
        return loss

    def validation_step(self, batch: SequenceSample, batch_idx: int) -> None:
        """Keep the logits of held-out stretches."""
        logits = whole_logits(self.network, batch["features"], batch["valid"])
        self._keep(logits, batch["labels"])


class Anchor(torch.nn.Module):
    """L2-SP (Li et al. 2018, arXiv 1802.01483): keeps weights near those they started with.

    Args:
        network: as it is before its training; what it started with is kept in checkpoints.
        near: penalty on the squared distance of pretrained weights to their start, halved.
        small: penalty on the squared other weights, halved.
    """

    def __init__(self, network: FeatureExtractor, near: float, small: float) -> None:
        super().__init__()
        self._near, self._small = near, small
        pretrained = {id(one) for one in network.pretrained()}
        for name, weights in network.named_parameters():
            if id(weights) in pretrained and is_penalized(name, weights):
                self.register_buffer(_buffer(name), weights.detach().clone())

    def forward(self, network: FeatureExtractor) -> Tensor:
        """Return the penalty, a scalar."""
        starts = dict(self.named_buffers())
        total = torch.zeros(())
        for name, weights in network.named_parameters():
            if not is_penalized(name, weights):
                continue
            start = starts.get(_buffer(name))
            if start is None:
                total = total + self._small / 2 * weights.square().sum()
            else:
                total = total + self._near / 2 * (weights - start).square().sum()
        return total


def is_penalized(name: str, weights: Tensor) -> bool:
    """Whether a penalty on weights applies: not to biases and normalization."""
    return weights.ndim > 1 and weights.requires_grad and not name.endswith("bias")


def _channels_last(network: Network) -> Network:
    """Arrange convolution weights as processors compute them fastest."""
    is_3d = any(one.ndim == 5 for one in network.parameters())
    return network.to(memory_format=torch.channels_last_3d if is_3d else torch.channels_last)


def _buffer(name: str) -> str:
    return name.replace(".", "/")

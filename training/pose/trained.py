"""A trained pose network: its settings, its weights, and the graph that answers keypoints."""

import torch
from torch import Tensor, nn

from service.engine import Tensors, TensorSpec
from service.targets import TargetSpec
from training.backbones import WeightsSource, create_backbone
from training.loop import load_best
from training.pose.heads import DeconvolutionHead, PyramidHead
from training.pose.model import PoseNetwork, locate
from training.pose.settings import PoseTraining
from training.runs import Run


class PoseGraph(nn.Module):
    """The graph that serves: uint8 frames to keypoints, arg-max and offsets included."""

    def __init__(
        self,
        network: PoseNetwork,
        target: TargetSpec,
        *,
        animals: int = 1,
        unique: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.animals = animals
        self._target = target
        self._unique = unique

    def forward(self, frames: Tensor) -> Tensor:
        """(B, H, W, C) uint8 to (B, N, K, 3) x, y in px of the model input and confidence."""
        maps = self.network(frames)
        return locate(maps, self._target, animals=self.animals, unique=self._unique)


class TorchEngine:
    """A pose graph computed by torch in fp32, as an engine of the service."""

    engine = "torch:cpu"
    precision = "fp32"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, graph: PoseGraph) -> None:
        self._graph = graph.eval()

    def run(self, inputs: Tensors) -> Tensors:
        """See `service.engine.Engine.run`."""
        with torch.no_grad():
            return {"keypoints": self._graph(torch.from_numpy(inputs["frames"])).numpy()}


def read_settings(run: Run) -> PoseTraining:
    """Return the settings of a pose run.

    Raises:
        InvalidConfig: the run is of another task, or was made by another version.
    """
    return run.settings("pose", PoseTraining)


def create_network(settings: PoseTraining, *, weights: WeightsSource) -> PoseNetwork:
    """Build the network of `settings`; `weights` are those of its backbone.

    Raises:
        InvalidConfig: the weights do not fit.
    """
    chosen = settings.network
    backbone = create_backbone(chosen.backbone, weights=weights, output_stride=chosen.output_stride)
    backbone.keeps_statistics = chosen.backbone_weights != "random"
    keypoints, are_logits = len(settings.keypoints), settings.target.kind == "disc"
    head = (
        PyramidHead(backbone.channels, keypoints, width=chosen.width, starts_unsure=are_logits)
        if chosen.head == "pyramid"
        else DeconvolutionHead(
            backbone.channels,
            keypoints,
            skip=chosen.skip,
            intermediate=chosen.intermediate,
            starts_unsure=are_logits,
        )
    )
    return PoseNetwork(backbone, head)


def read_network(run: Run) -> PoseNetwork:
    """Return the network of the run's best checkpoint, in evaluation mode.

    Raises:
        NotFound: the run has no checkpoint.
    """
    network = create_network(read_settings(run), weights="random")
    load_best(run, network)
    return network.to(memory_format=torch.contiguous_format).eval()


def read_graph(run: Run, *, animals: int | None = None) -> PoseGraph:
    """Return the graph of the run's best checkpoint.

    Args:
        run: the run.
        animals: N, how many local maxima of each map are answered; None takes as many as were
            labelled.
    """
    settings = read_settings(run)
    return PoseGraph(
        read_network(run),
        settings.target,
        animals=animals or settings.animals,
        unique=settings.unique_indices,
    ).eval()

"""The networks of DeepLabCut 3 that are imported: timm's backbones, heat-map heads, and decoding.

Written from the published description of the layers and from the names and shapes in state dicts
(Mathis et al. 2018, arXiv 1804.03142, and DeepLabCut 3); module names are those that its weights
go by.
"""

import timm
import torch
from torch import Tensor, nn

from export.importers.dlc_config import DlcModel, HeadLayers, HeatmapHead
from export.importers.group_norm import ChannelGroupNorm
from service.targets import TargetSpec
from training.backbones.base import IMAGENET_DEVIATION, IMAGENET_MEAN
from training.pose.model import PoseMaps, locate


class DlcNetwork(nn.Module):
    """uint8 frames to keypoints, as DeepLabCut 3 decodes them.

    Args:
        model: what pytorch_config.yaml says.
        animals: N; more than one are the N highest local maxima of each map, ungrouped, and
            unique body parts are in the first row only.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: DlcModel, *, animals: int = 1) -> None:
        super().__init__()
        self.backbone = _Backbone(model)
        self.heads = nn.ModuleDict({head.name: _HeatmapHead(head) for head in model.heads})
        self._model = model
        self._animals = animals
        for buffer, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(buffer, torch.tensor(values)[None, :, None, None], False)

    def forward(self, frames: Tensor) -> Tensor:
        """Turn (B, H, W, 3) uint8 RGB into (B, N, K, 3): x, y in px and confidence in [0, 1]."""
        # Cast first: TensorRT takes uint8 inputs but refuses to transpose them.
        pixels = frames.float().permute(0, 3, 1, 2) / 255.0
        features = self.backbone((pixels - self.mean) / self.deviation)
        found = []
        for head in self._model.heads:
            scores, offsets = self.heads[head.name](features)
            stride_px = self._model.backbone_stride_px // head.upscaling
            target = TargetSpec(
                stride_px=stride_px,
                radius_px=float(stride_px),
                kind="disc" if head.applies_sigmoid else "gaussian",
                offset_unit_px=head.locref_std_px,
            )
            unique = tuple(range(len(head.keypoints))) if head.name != "bodypart" else ()
            found.append(
                locate(PoseMaps(scores, offsets), target, animals=self._animals, unique=unique)
            )
        points = torch.cat(found, dim=2)
        # DeepLabCut's cells of 8 px have their center at 4, ours, in pixel indices, at 3.5.
        return torch.cat([points[..., :2] + 0.5, points[..., 2:]], dim=3)


class _Backbone(nn.Module):
    """A backbone of timm below the name that DeepLabCut's weights have for it."""

    def __init__(self, model: DlcModel) -> None:
        super().__init__()
        self._is_hrnet = model.backbone.startswith("hrnet")
        if self._is_hrnet:
            self.model = timm.create_model(model.backbone, pretrained=False, features_only=True)
            self.model.incre_modules = None
        else:
            norm = {"norm_layer": ChannelGroupNorm} if model.backbone.endswith("_gn") else {}
            self.model = timm.create_model(
                model.backbone,
                pretrained=False,
                output_stride=model.backbone_stride_px,
                num_classes=0,
                **norm,
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """Turn normalized (B, 3, H, W) into the map that the heads look at."""
        if not self._is_hrnet:
            features: Tensor = self.model.forward_features(pixels)
            return features
        maps = self.model.act1(self.model.bn1(self.model.conv1(pixels)))
        maps = self.model.act2(self.model.bn2(self.model.conv2(maps)))
        finest: Tensor = self.model.stages(maps)[0]
        return finest


class _HeatmapHead(nn.Module):
    def __init__(self, head: HeatmapHead) -> None:
        super().__init__()
        self.heatmap_head = _Upscaling(head.heatmap)
        self.locref_head = None if head.locref is None else _Upscaling(head.locref)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, K, h, w) and offsets (B, K, 2, h, w)."""
        scores: Tensor = self.heatmap_head(features)
        if self.locref_head is None:
            return scores, torch.zeros_like(scores)[:, :, None].expand(-1, -1, 2, -1, -1)
        # Channels are x of the first keypoint, y of it, x of the second one, and so on.
        return scores, self.locref_head(features).unflatten(1, (scores.shape[1], 2))


class _Upscaling(nn.Module):
    """Deconvolutions without padding, so that 2H + 1 cells come of H, and a last convolution."""

    def __init__(self, layers: HeadLayers) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        pairs = zip(layers.channels[:-1], layers.channels[1:], strict=True)
        for place, (before, after) in enumerate(pairs):
            if steps:
                steps.append(nn.ReLU())
            kernel, stride = layers.kernels[place], layers.strides[place]
            steps.append(nn.ConvTranspose2d(before, after, kernel, stride))
        self.deconv_layers = nn.Sequential(*steps)
        self.final_conv: nn.Module = nn.Identity()
        if layers.final_channels is not None:
            kernel = layers.final_kernel
            self.final_conv = nn.Conv2d(
                layers.channels[-1], layers.final_channels, kernel, padding=(kernel - 1) // 2
            )

    def forward(self, features: Tensor) -> Tensor:
        """Turn the backbone's map into maps."""
        maps: Tensor = self.final_conv(self.deconv_layers(features))
        return maps

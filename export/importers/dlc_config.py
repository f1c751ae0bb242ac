"""Reads pytorch_config.yaml of DeepLabCut 3: which network, which body parts, how it is decoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from service.errors import InvalidConfig
from training.data.labels import left_right_pairs

SUPPORTED = (
    "resnet_50 (GroupNorm or BatchNorm), resnet_101 and hrnet_w18/w32/w48 with heat-map heads, "
    "bottom-up with one animal or top-down"
)
_METHODS = {"bu": "bottom-up", "td": "top-down", "ctd": "conditional top-down"}
_BACKBONES = {
    "resnet50_gn": 2048,
    "resnet50": 2048,
    "resnet101": 2048,
    "resnet101_gn": 2048,
    "hrnet_w18": 18,
    "hrnet_w32": 32,
    "hrnet_w48": 48,
}
"""timm's names, and the channels of the map that the heads look at."""
_HRNET_STRIDE_PX = 4


@dataclass(frozen=True, slots=True)
class HeadLayers:
    """Layers from the backbone's map to the maps of one kind."""

    channels: tuple[int, ...]
    """Before the first deconvolution, and after each."""
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    final_channels: int | None
    """Of a last convolution; None where there is none."""
    final_kernel: int = 1

    @property
    def out_channels(self) -> int:
        """Channels of the maps."""
        return self.channels[-1] if self.final_channels is None else self.final_channels


@dataclass(frozen=True, slots=True)
class HeatmapHead:
    """One head: score maps of its keypoints and, mostly, where in a cell each of them is."""

    name: str
    """In the state dict, `bodypart` or `unique_bodypart`."""
    keypoints: tuple[str, ...]
    heatmap: HeadLayers
    locref: HeadLayers | None
    locref_std_px: float
    applies_sigmoid: bool

    @property
    def upscaling(self) -> int:
        """Cells of a map per cell of the backbone's map, a side."""
        factor = 1
        for stride in self.heatmap.strides:
            factor *= stride
        return factor


@dataclass(frozen=True, slots=True)
class DlcModel:
    """What a configuration says of a network."""

    net_type: str
    method: Literal["bottom-up", "top-down"]
    backbone: str
    """timm's name."""
    backbone_stride_px: int
    heads: tuple[HeatmapHead, ...]
    crop_px: tuple[int, int] | None
    """(width, height) that top-down networks look at; None for others."""
    left_right: tuple[tuple[str, str], ...]

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Of all heads: body parts, then unique ones."""
        return tuple(name for head in self.heads for name in head.keypoints)

    @property
    def unique_keypoints(self) -> tuple[str, ...]:
        """Those that exist once in the scene."""
        return tuple(
            name for head in self.heads if head.name == "unique_bodypart" for name in head.keypoints
        )

    @property
    def size_multiple_px(self) -> int:
        """Sides of the input are multiples of this."""
        return 32 if self.backbone.startswith("hrnet") else 2


class _Layers(msgspec.Struct, frozen=True, kw_only=True):
    channels: list[int]
    kernel_size: list[int] = []
    strides: list[int] = []
    final_conv: dict[str, int] | None = None


class _Predictor(msgspec.Struct, frozen=True, kw_only=True):
    apply_sigmoid: bool = False
    clip_scores: bool = True
    location_refinement: bool = False
    locref_std: float = 7.2801


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    predictor: _Predictor = _Predictor()
    heatmap_config: _Layers | None = None
    locref_config: _Layers | None = None


class _Backbone(msgspec.Struct, frozen=True, kw_only=True):
    type: str = ""
    model_name: str = ""
    output_stride: int = 32
    interpolate_branches: bool = False
    increased_channel_count: bool = False


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    backbone: _Backbone
    heads: dict[str, dict[str, object]]


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    bodyparts: list[str | int]
    unique_bodyparts: list[str | int] | None = None
    individuals: list[str | int] | None = None


class _Crop(msgspec.Struct, frozen=True, kw_only=True):
    width: int = 256
    height: int = 256


class _Inference(msgspec.Struct, frozen=True, kw_only=True):
    normalize_images: bool = True
    top_down_crop: _Crop | None = None


class _Flip(msgspec.Struct, frozen=True, kw_only=True):
    symmetries: list[tuple[int, int]] = []


class _Augmentation(msgspec.Struct, frozen=True, kw_only=True):
    hflip: _Flip | bool | float | None = None


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    colormode: str = "RGB"
    inference: _Inference = _Inference()
    train: _Augmentation = _Augmentation()


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; DeepLabCut has more of them, and each version adds some."""

    net_type: str
    metadata: _Metadata
    model: _Model
    method: str = "bu"
    data: _Data = _Data()


def read_dlc_config(source: Path | object, *, name: str = "") -> DlcModel:
    """Read a configuration.

    Args:
        source: path of a pytorch_config.yaml, or its content as plain values, as exported models
            hold it.
        name: of the file that holds the plain values, for messages.

    Raises:
        InvalidConfig: it cannot be read, lacks a key, or describes a network that is not
            supported; the message names it and says what is.
    """
    name = str(source) if isinstance(source, Path) else name
    plain = _read_yaml(source) if isinstance(source, Path) else source
    try:
        file = msgspec.convert(plain, _File, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{name} is not a pytorch_config of DeepLabCut 3: {error}; name the one that lies "
            "beside the snapshot"
        ) from error
    method = _METHODS.get(file.method.lower())
    if method not in ("bottom-up", "top-down"):
        raise InvalidConfig(_unsupported(file, f"method {method or file.method}"))
    backbone, stride_px = _backbone(file)
    _check_pixels(name, file)
    crop = file.data.inference.top_down_crop or _Crop()
    heads = _heads(name, file, backbone)
    keypoints = tuple(one for head in heads for one in head.keypoints)
    return DlcModel(
        net_type=file.net_type,
        method="top-down" if method == "top-down" else "bottom-up",
        backbone=backbone,
        backbone_stride_px=stride_px,
        heads=heads,
        crop_px=(crop.width, crop.height) if method == "top-down" else None,
        left_right=_pairs(file, keypoints),
    )


def _read_yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidConfig(
            f"{path} cannot be read ({error}); name the pytorch_config.yaml with --config"
        ) from error


def _unsupported(file: _File, what: str) -> str:
    return f"net type {file.net_type} has {what}, which is not supported; supported are {SUPPORTED}"


def _backbone(file: _File) -> tuple[str, int]:
    """Return timm's name of the backbone and the stride of its map."""
    chosen = file.model.backbone
    if chosen.model_name not in _BACKBONES:
        shown = chosen.model_name or chosen.type or "none"
        raise InvalidConfig(_unsupported(file, f"the backbone {shown}"))
    if not chosen.model_name.startswith("hrnet"):
        if chosen.output_stride not in (8, 16, 32):
            raise InvalidConfig(_unsupported(file, f"the output stride {chosen.output_stride}"))
        return chosen.model_name, chosen.output_stride
    if chosen.interpolate_branches or chosen.increased_channel_count:
        raise InvalidConfig(_unsupported(file, "an HRNet whose branches are joined"))
    return chosen.model_name, _HRNET_STRIDE_PX


def _check_pixels(name: str, file: _File) -> None:
    if file.data.colormode.upper() != "RGB" or not file.data.inference.normalize_images:
        raise InvalidConfig(
            f"{name} has colormode {file.data.colormode} and normalize_images "
            f"{file.data.inference.normalize_images}; only RGB with normalize_images: true, "
            "DeepLabCut's default, is supported"
        )


def _heads(name: str, file: _File, backbone: str) -> tuple[HeatmapHead, ...]:
    unknown = set(file.model.heads) - {"bodypart", "unique_bodypart"}
    if unknown:
        raise InvalidConfig(_unsupported(file, f"a head {sorted(unknown)[0]}"))
    parts = {
        "bodypart": file.metadata.bodyparts,
        "unique_bodypart": file.metadata.unique_bodyparts or [],
    }
    heads = tuple(
        _head(name, file, one, tuple(map(str, parts[one])), backbone)
        for one in parts
        if one in file.model.heads
    )
    if not heads or heads[0].name != "bodypart":
        raise InvalidConfig(f"{name} has no head model.heads.bodypart; name another file")
    return heads


def _head(
    name: str, file: _File, head: str, keypoints: tuple[str, ...], backbone: str
) -> HeatmapHead:
    plain = file.model.heads[head]
    kind, predictor = plain.get("type"), plain.get("predictor") or {}
    decoder = predictor.get("type") if isinstance(predictor, dict) else predictor
    if kind != "HeatmapHead" or decoder != "HeatmapPredictor":
        raise InvalidConfig(_unsupported(file, f"a head {kind} with the predictor {decoder}"))
    try:
        found = msgspec.convert(plain, _Head, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"{name} has a damaged head {head}: {error}; restore it") from error
    if found.heatmap_config is None:
        raise InvalidConfig(f"{name} has no heatmap_config for its head {head}; restore it")
    heatmap = _layers(name, found.heatmap_config, backbone)
    locref = None
    if found.predictor.location_refinement:
        if found.locref_config is None:
            raise InvalidConfig(
                f"{name} refines locations without a locref_config for {head}; restore it"
            )
        locref = _layers(name, found.locref_config, backbone)
    wanted = {"heatmap_config": (heatmap, 1), "locref_config": (locref, 2)}
    for key, (layers, factor) in wanted.items():
        if layers is not None and layers.out_channels != factor * len(keypoints):
            raise InvalidConfig(
                f"{name} gives {key} of {head} {layers.out_channels} channels, but "
                f"{factor * len(keypoints)} for its {len(keypoints)} body parts are expected; "
                "name the configuration that belongs to the snapshot"
            )
    return HeatmapHead(
        name=head,
        keypoints=keypoints,
        heatmap=heatmap,
        locref=locref,
        locref_std_px=found.predictor.locref_std,
        applies_sigmoid=found.predictor.apply_sigmoid,
    )


def _layers(name: str, layers: _Layers, backbone: str) -> HeadLayers:
    deconvolutions = len(layers.channels) - 1
    if (
        layers.channels[:1] != [_BACKBONES[backbone]]
        or len(layers.kernel_size) != deconvolutions
        or len(layers.strides) != deconvolutions
    ):
        raise InvalidConfig(
            f"{name} describes a head with channels {layers.channels}, kernel_size "
            f"{layers.kernel_size} and strides {layers.strides}; the first of the channels is "
            f"{_BACKBONES[backbone]} for {backbone}, and there is one kernel size and one stride "
            "for each further one"
        )
    final = layers.final_conv
    return HeadLayers(
        channels=tuple(layers.channels),
        kernels=tuple(layers.kernel_size),
        strides=tuple(layers.strides),
        final_channels=None if final is None else final.get("out_channels", 0),
        final_kernel=1 if final is None else final.get("kernel_size", 1),
    )


def _pairs(file: _File, keypoints: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of the configuration's mirroring; those that the names tell where it has none."""
    flip = file.data.train.hflip
    symmetries = flip.symmetries if isinstance(flip, _Flip) else []
    if any(not 0 <= place < len(keypoints) for pair in symmetries for place in pair):
        return left_right_pairs(keypoints)
    return tuple((keypoints[one], keypoints[other]) for one, other in symmetries) or (
        left_right_pairs(keypoints)
    )

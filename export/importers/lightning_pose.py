"""Imports Lightning Pose: the ONNX export of a model folder, described by its config.yaml."""

from pathlib import Path

import msgspec
import yaml

from export.importers.described import draft_described
from export.importers.description import Description, HeatmapAnswer, InputDescription
from export.importers.draft import ImportOptions
from export.write_bundle import BundleDraft
from service.errors import InvalidConfig
from training.backbones.base import IMAGENET_DEVIATION, IMAGENET_MEAN
from training.data.labels import left_right_pairs

_EXPORTS = "exports_onnx"


class _Size(msgspec.Struct, frozen=True, kw_only=True):
    width: int
    height: int


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    image_resize_dims: _Size
    keypoint_names: list[str]
    view_names: list[str] | None = None


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    model_type: str


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; Lightning Pose has more of them."""

    data: _Data
    model: _Model


def draft_bundle(source: Path, folder: Path, options: ImportOptions) -> BundleDraft:
    """Import the ONNX export of a model folder.

    Args:
        source: the model's folder (with config.yaml and exports_onnx/), or one .onnx file of it.
        folder: where the graph is written.
        options: `config` names a config.yaml that lies elsewhere.

    Raises:
        BundleInvalid: the graph cannot be wrapped, or an engine disagrees with the original.
        InvalidConfig: there is no export, or the model is of a kind that is not supported.
    """
    model, root = _find(source)
    config = _read_config(options.config or root / "config.yaml")
    if config.model.model_type != "heatmap" or len(config.data.view_names or []) > 1:
        views = len(config.data.view_names or [])
        raise InvalidConfig(
            f"{root} is a model of the type {config.model.model_type} with {views or 1} views; "
            "only heatmap models of one view can be imported, since others look at several "
            "frames or cameras at once"
        )
    names = tuple(config.data.keypoint_names)
    size = config.data.image_resize_dims
    description = Description(
        keypoints=names,
        left_right=left_right_pairs(names),
        input=InputDescription(
            width_px=size.width,
            height_px=size.height,
            mean=IMAGENET_MEAN,
            std=IMAGENET_DEVIATION,
            fit="stretch",
        ),
        answer=HeatmapAnswer(maps="heatmaps", refine="lightning-pose"),
    )
    facts = (
        "Decoded as Lightning Pose does: maps doubled to the input's size, the expectation of "
        "their sharpened softmax, and what lies within 2 px of it as confidence. Frames are "
        "stretched to the input, as Lightning Pose resizes them.",
    )
    return draft_described(model, description, folder, options, tool="Lightning Pose", facts=facts)


def _find(source: Path) -> tuple[Path, Path]:
    """Return the ONNX file and the model's folder; fp32 before fp16."""
    if source.is_file():
        return source, source.parent.parent if source.parent.name == _EXPORTS else source.parent
    files = sorted((source / _EXPORTS).glob("*.onnx"))
    exact = [path for path in files if path.stem.endswith("_fp32")] or files
    if len(exact) != 1:
        shown = ", ".join(path.name for path in exact) or "no .onnx file"
        raise InvalidConfig(
            f"{source / _EXPORTS} holds {shown}; run `litpose export MODEL --runtime onnx "
            "--onnx-precision fp32`, or name one file"
        )
    return exact[0], source


def _read_config(path: Path) -> _Config:
    try:
        return msgspec.convert(
            yaml.safe_load(path.read_text(encoding="utf-8")), _Config, strict=False
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidConfig(
            f"{path} cannot be read ({error}); name the config.yaml of the model with --config"
        ) from error
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{path} is not a configuration of Lightning Pose: {error}; restore it"
        ) from error

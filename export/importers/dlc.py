"""Imports DeepLabCut 3: snapshots with their pytorch_config.yaml, and exported models."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.importers.dlc_config import DlcModel, read_dlc_config
from export.importers.dlc_network import DlcNetwork
from export.importers.draft import ImportOptions, Origin
from export.importers.frames import first_frame_size
from export.importers.pose_draft import draft_pose
from export.to_onnx import export_graph
from export.write_bundle import BundleDraft
from service.bundle import InputSpec
from service.errors import InvalidConfig
from training.checkpoints import fit_weights, read_checkpoint, state_dict
from training.data.deeplabcut_config import is_project, read_config

_CONFIG = "pytorch_config.yaml"
_EPOCH = re.compile(r"snapshot-(best-)?(\d+)$")
_UNUSED = ("backbone.model.fc.*", "backbone.model.incre_modules.*")
"""Layers of the backbones that end before the map that is looked at."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What a snapshot or an exported model holds."""

    path: Path
    tensors: dict[str, Tensor]
    model: DlcModel
    has_detector: bool


def draft_bundle(source: Path, folder: Path, options: ImportOptions) -> BundleDraft:
    """Import a snapshot or an exported model.

    Args:
        source: a snapshot (.pt or .safetensors, beside its pytorch_config.yaml), an exported
            model (.pt, with its configuration inside), or a folder with either: the best
            snapshot of it is taken, or the one of the last epoch.
        folder: where the graph is written.
        options: `size_px` is needed for bottom-up networks without `frames`, which take frames
            of any size in DeepLabCut; `config` names another pytorch_config.yaml.

    Raises:
        BundleInvalid: an engine disagrees with the imported network.
        InvalidConfig: the source cannot be read, is of a network that is not supported, or its
            weights do not fit its configuration.
    """
    found = _read(source, options.config)
    size = _input_size(found.model, options)
    network = _network(found, options.animals)
    path = export_graph(
        network,
        [torch.zeros((2, size.height_px, size.width_px, 3), dtype=torch.uint8)],
        input_names=["frames"],
        output_names=["keypoints"],
        dynamic_shapes=[{0: "batch"}],
        path=folder / "pose.onnx",
        metadata={"keypoints": ",".join(found.model.keypoints)},
    )
    return draft_pose(
        path,
        network,
        Origin(tool="DeepLabCut 3", files=(found.path,), facts=_facts(found, size)),
        size,
        found.model.keypoints,
        options,
        skeleton=_skeleton(found),
        left_right=found.model.left_right,
        unique_keypoints=found.model.unique_keypoints,
    )


def read_network(source: Path, *, config: Path | None = None, animals: int = 1) -> DlcNetwork:
    """Return the network of a snapshot or an exported model, for evaluation.

    Args:
        source: as for `draft_bundle`.
        config: another pytorch_config.yaml.
        animals: N.

    Raises:
        InvalidConfig: as for `draft_bundle`.
    """
    return _network(_read(source, config), animals)


def find_snapshot(folder: Path) -> Path:
    """Return the best snapshot of a folder, the one of the last epoch, or its exported model.

    Raises:
        InvalidConfig: there is none, or there are several exported models.
    """
    files = [
        path
        for path in sorted(folder.glob("*"))
        if path.suffix in (".pt", ".safetensors") and not path.stem.startswith("snapshot-detector")
    ]
    named = [(found, path) for path in files if (found := _EPOCH.search(path.stem))]
    if named:
        return max(named, key=lambda one: (one[0][1] is not None, int(one[0][2])))[1]
    if len(files) != 1:
        shown = ", ".join(path.name for path in files) or "no .pt file"
        raise InvalidConfig(f"{folder} holds {shown}; name the snapshot or exported model itself")
    return files[0]


def _read(source: Path, config: Path | None) -> _Source:
    path = find_snapshot(source) if source.is_dir() else source
    checkpoint = read_checkpoint(path)
    tensors = state_dict(checkpoint, path, ("pose", "model", "state_dict"))
    inside = checkpoint.get("config")
    if config is not None:
        model = read_dlc_config(config)
    elif isinstance(inside, dict):
        model = read_dlc_config(inside, name=f"the configuration in {path}")
    else:
        model = read_dlc_config(path.parent / _CONFIG)
    return _Source(path, tensors, model, checkpoint.get("detector") is not None)


def _network(found: _Source, animals: int) -> DlcNetwork:
    network = DlcNetwork(found.model, animals=animals).eval()
    fit_weights(network, found.tensors, path=found.path, ignored=_UNUSED)
    return network


def _input_size(model: DlcModel, options: ImportOptions) -> InputSpec:
    """Return the model input: the crop of top-down networks, or what the options say."""
    chosen = options.size_px or model.crop_px
    if chosen is None and options.frames is not None:
        multiple = model.size_multiple_px
        width_px, height_px = first_frame_size(options.frames)
        chosen = (-(-width_px // multiple) * multiple, -(-height_px // multiple) * multiple)
    if chosen is None:
        raise InvalidConfig(
            f"{model.net_type} takes frames of any size, and a bundle has one; give --size "
            "WIDTHxHEIGHT, best that of your videos, or --frames with some of them"
        )
    if any(side % model.size_multiple_px for side in chosen):
        raise InvalidConfig(
            f"the size {chosen[0]}x{chosen[1]} px does not suit {model.net_type}; give multiples "
            f"of {model.size_multiple_px}"
        )
    return InputSpec(width_px=chosen[0], height_px=chosen[1], color="rgb", fit="letterbox")


def _skeleton(found: _Source) -> tuple[tuple[str, str], ...]:
    """Return that of the project in whose folder the snapshot lies, as far as it is there."""
    for folder in found.path.resolve().parents:
        if is_project(folder):
            known = set(found.model.keypoints)
            return tuple(pair for pair in read_config(folder).skeleton if set(pair) <= known)
    return ()


def _facts(found: _Source, size: InputSpec) -> tuple[str, ...]:
    model = found.model
    facts = [
        f"{model.net_type}, {model.method}: {model.backbone} with stride "
        f"{model.backbone_stride_px} px and heat-map heads for {len(model.keypoints)} keypoints.",
        f"Input: {size.width_px}x{size.height_px} px RGB. DeepLabCut takes frames at their own "
        "size; others than this one are resized, so the size of an animal in px changes with them.",
        "Coordinates and confidence are those of DeepLabCut: cell, half a stride, location "
        "refinement; the value of the score map cut to [0, 1].",
    ]
    if model.method == "top-down":
        facts.append(
            "It looks at a crop around one animal; DeepLabCut's detector is not part of this "
            "bundle. Give the crop with each request, or use the dynamic crop."
        )
    if found.has_detector:
        facts.append("The detector in the file was left out.")
    return tuple(facts)

"""Imports SLEAP-NN export folders: model.onnx with the metadata that SLEAP-NN writes beside it."""

from pathlib import Path
from typing import Literal

import msgspec
import onnx

from export.importers.described import draft_described
from export.importers.description import Description, InputDescription, KeypointAnswer
from export.importers.draft import ImportOptions
from export.write_bundle import BundleDraft
from service.errors import InvalidConfig
from training.data.labels import left_right_pairs

_MODEL = "model.onnx"
_METADATA = ("model.onnx.metadata.json", "export_metadata.json")
_EMBEDDED = "sleap_nn_metadata"
_CENTROID = "centroid"
_ANSWERS: dict[str, tuple[str, str, Literal["K", "N", "NK", "KN"]]] = {
    "single_instance": ("peaks", "peak_vals", "K"),
    "topdown": ("peaks", "peak_vals", "NK"),
    "bottomup": ("peaks", "peak_vals", "KN"),
    _CENTROID: ("centroids", "centroid_vals", "N"),
}
"""Outputs with places and confidences, and their axes, by SLEAP-NN's model type."""


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that are used; SLEAP-NN has more of them, and each version adds some."""

    model_type: str
    node_names: list[str]
    edge_inds: list[tuple[int, int]] = []
    input_scale: float = 1.0
    input_channels: int = 1
    input_dtype: str = "uint8"
    normalization: str = "0_to_1"
    precision: str = "fp32"
    sleap_nn_version: str = ""


def draft_bundle(source: Path, folder: Path, options: ImportOptions) -> BundleDraft:
    """Import an export folder.

    Args:
        source: the folder, or its model.onnx.
        folder: where the graph is written.
        options: `config` names a metadata file that lies elsewhere.

    Raises:
        BundleInvalid: the graph cannot be wrapped, or an engine disagrees with the original.
        InvalidConfig: the folder is not of SLEAP-NN, or of a kind that is not supported.
    """
    model = source / _MODEL if source.is_dir() else source
    metadata = _read_metadata(model, options.config)
    description = _describe(model, metadata)
    facts = [
        f"SLEAP-NN {metadata.sleap_nn_version or 'of unknown version'}, {metadata.model_type}, "
        f"stored in {metadata.precision}; the picture is scaled by {metadata.input_scale:g} "
        "inside the graph. Coordinates are those of SLEAP-NN's graph; where it finds nothing, the "
        "confidence is 0."
    ]
    if metadata.model_type == "bottomup":
        facts.append(
            "Rows are the best detections of each keypoint. SLEAP-NN groups them into animals by "
            "part affinities outside of its graph, which this bundle does not."
        )
    return draft_described(model, description, folder, options, tool="SLEAP-NN", facts=tuple(facts))


def _read_metadata(model: Path, config: Path | None) -> _Metadata:
    """Read the metadata: as named, beside the model, or inside it."""
    found = [model.parent / name for name in _METADATA if (model.parent / name).is_file()]
    path = config or (found[0] if found else model)
    try:
        text = _embedded(model) if path == model else path.read_bytes()
        return msgspec.json.decode(text, type=_Metadata)
    except OSError as error:
        raise InvalidConfig(
            f"{path} cannot be read ({error.strerror}); name a folder of `sleap-nn export`"
        ) from error
    except msgspec.MsgspecError as error:
        raise InvalidConfig(
            f"{path} is not metadata of a SLEAP-NN export: {error}; export the model again"
        ) from error


def _embedded(model: Path) -> bytes:
    properties = _load(model).metadata_props
    text = next((str(one.value) for one in properties if one.key == _EMBEDDED), None)
    if text is None:
        raise InvalidConfig(
            f"{model.parent} has no {_METADATA[0]}, and the model holds no metadata; export it "
            "again with `sleap-nn export`, or describe it for `ethostream import onnx`"
        )
    return text.encode()


def _describe(model: Path, metadata: _Metadata) -> Description:
    answer = _ANSWERS.get(metadata.model_type)
    if answer is None:
        raise InvalidConfig(
            f"{model} is of the model type {metadata.model_type}, which is not supported; "
            f"supported are {', '.join(_ANSWERS)}"
        )
    if metadata.input_dtype != "uint8" or metadata.normalization != "0_to_1":
        raise InvalidConfig(
            f"{model} takes {metadata.input_dtype} with the normalization "
            f"{metadata.normalization}; only uint8 with 0_to_1, SLEAP-NN's default, is supported"
        )
    if metadata.model_type == "bottomup" and metadata.input_scale != 1.0:
        raise InvalidConfig(
            f"{model} scales its input by {metadata.input_scale:g}, and exports of bottom-up "
            "models do not tell in which px their peaks are then; export it with an input scale "
            "of 1"
        )
    height_px, width_px = _size(model)
    is_centroid = metadata.model_type == _CENTROID
    names = (_CENTROID,) if is_centroid else tuple(metadata.node_names)
    bones = [] if is_centroid else metadata.edge_inds
    points, confidence, order = answer
    return Description(
        keypoints=names,
        skeleton=tuple(
            (names[one], names[other]) for one, other in bones if max(one, other) < len(names)
        ),
        left_right=left_right_pairs(names),
        input=InputDescription(
            width_px=width_px,
            height_px=height_px,
            color="gray" if metadata.input_channels == 1 else "rgb",
            scale=1.0,
        ),
        answer=KeypointAnswer(points=points, confidence=confidence, order=order),
    )


def _size(model: Path) -> tuple[int, int]:
    """Return (height, width) in px of the graph's input."""
    graph = _load(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    taken = [value for value in graph.input if value.name not in weights]
    sizes = [axis.dim_value for axis in taken[0].type.tensor_type.shape.dim] if taken else []
    if len(sizes) != 4 or min(sizes[2:]) < 1:
        raise InvalidConfig(
            f"the input of {model} has the shape {sizes} (0 is any); an export of SLEAP-NN has a "
            "fixed height and width: export it again"
        )
    return sizes[2], sizes[3]


def _load(model: Path) -> onnx.ModelProto:
    if not model.is_file():
        raise InvalidConfig(f"{model} does not exist; name a folder of `sleap-nn export`")
    try:
        return onnx.load(str(model), load_external_data=False)
    except Exception as error:  # protobuf raises classes of its own
        raise InvalidConfig(f"{model} is not an ONNX file: {error}; export it again") from error

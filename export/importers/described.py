"""Imports any ONNX file with a description of its tensors, as other importers make one, too."""

from pathlib import Path

from export.importers.description import Description, read_description
from export.importers.draft import ImportOptions, Origin
from export.importers.pose_draft import draft_pose
from export.importers.surgery import join, read_original
from export.write_bundle import BundleDraft
from service.errors import InvalidConfig

_REFERENCE = "the original file in onnxruntime with its preprocessing and decoding in torch, fp32"


def draft_bundle(source: Path, folder: Path, options: ImportOptions) -> BundleDraft:
    """Import an ONNX file.

    Args:
        source: the file.
        folder: where the graph is written.
        options: `config` is the description; without it, the TOML file of the same name that lies
            beside the source is read.

    Raises:
        BundleInvalid: the graph cannot be joined, or an engine disagrees with the original.
        InvalidConfig: the file or its description cannot be used.
    """
    described = options.config or source.with_suffix(".toml")
    if not described.is_file():
        raise InvalidConfig(
            f"{described} does not exist; write what the tensors of {source.name} mean as TOML "
            "(`ethostream import onnx --help` shows how) and name it with --config"
        )
    return draft_described(source, read_description(described), folder, options, tool="ONNX")


def draft_described(
    source: Path,
    description: Description,
    folder: Path,
    options: ImportOptions,
    *,
    tool: str,
    facts: tuple[str, ...] = (),
) -> BundleDraft:
    """Import an ONNX file whose description is known.

    Args:
        source: the file.
        description: what its tensors mean.
        folder: where the graph is written.
        options: the command's.
        tool: that wrote the file, for the card.
        facts: more lines for the card.

    Raises:
        BundleInvalid: the graph cannot be joined, or an engine disagrees with the original.
        InvalidConfig: the file is not what the description says.
    """
    size = description.input.input_spec()
    original = read_original(source, description.input)
    path, reference, animals = join(
        original, description, folder / "pose.onnx", animals=options.animals
    )
    shown = description.input
    told = (
        f"Input: {shown.width_px}x{shown.height_px} px, {shown.color}, {shown.layout}, "
        f"(pixel * {shown.scale:.6g} - {list(shown.mean) or 0}) / {list(shown.std) or 1}, all "
        "inside the graph.",
        *facts,
    )
    return draft_pose(
        path,
        reference,
        Origin(tool=tool, files=(source,), facts=told),
        size,
        description.keypoints,
        options,
        skeleton=description.skeleton,
        left_right=description.left_right,
        unique_keypoints=description.unique_keypoints,
        animals=animals,
        reference_name=_REFERENCE,
    )

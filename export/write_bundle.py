"""Writes a bundle: all files in a hidden folder first, read back, then renamed into place."""

import shutil
from pathlib import Path

import msgspec

from export.new_folder import new_folder
from export.parity import ParityReport
from service.bundle import (
    BehaviorSpec,
    Bundle,
    InputSpec,
    Manifest,
    PoseSpec,
    Provenance,
    Task,
    describe_file,
    find_bundles,
    read_bundle,
    write_manifest,
)
from service.errors import BundleInvalid, InvalidConfig

LARGEST_BUNDLE_BYTES = 8_000_000
"""Shipped bundles live in the repository; larger ones are only warned of by the command."""


class BundleDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's export hands over to be written."""

    task: Task
    description: str
    input: InputSpec
    pose: PoseSpec | None = None
    behavior: BehaviorSpec | None = None
    graphs: dict[str, Path]
    """Exported ONNX files by graph name; they are copied as <name>.onnx."""
    quantized: dict[str, Path] = {}
    """Their int8 forms by graph name; they are copied as <name>.int8.onnx."""
    parity: ParityReport
    card: str
    """Text of CARD.md."""
    split: bytes
    """Content of the run's split.json: evaluation takes the test frames from it."""
    provenance: Provenance


def write_bundle(
    models: Path, name: str, draft: BundleDraft, *, version: int | None, replace: bool = False
) -> Bundle:
    """Write `models`/`name`/`version` and return it as the service reads it.

    Args:
        models: the model repository; it is made where it does not exist.
        name: name of the bundle.
        draft: its content.
        version: a whole number from 1; None takes the next free one.
        replace: overwrite a version that exists.

    Raises:
        InvalidConfig: the name is no folder name, or the version exists and `replace` is off.
        BundleInvalid: the written files do not make a bundle.
    """
    number = choose_version(models, name, version=version, replace=replace)
    final = models / name / str(number)
    with new_folder(final) as folder:
        _fill(folder, name, number, draft)
        read_bundle(folder)
        if final.exists():
            shutil.rmtree(final)
    return read_bundle(final)


def choose_version(models: Path, name: str, *, version: int | None, replace: bool) -> int:
    """Return the version that `write_bundle` would write, before anything is computed for it.

    Raises:
        InvalidConfig: the name is no folder name, or the version exists and `replace` is off.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise InvalidConfig(f"{name!r} is not a bundle name; give one without slashes or a dot")
    existing = find_bundles(models).get(name, {}) if models.is_dir() else {}
    number = version if version is not None else max(existing, default=0) + 1
    final = models / name / str(number)
    if final.exists() and not replace:
        raise InvalidConfig(f"{final} exists; give another --version, or --replace to overwrite it")
    return number


def bundle_size_bytes(bundle: Bundle) -> int:
    """Return the size of all files that the manifest names."""
    return sum(entry.size_bytes for entry in bundle.manifest.files)


def _fill(folder: Path, name: str, number: int, draft: BundleDraft) -> None:
    for graph, path in draft.graphs.items():
        shutil.copyfile(path, folder / f"{graph}.onnx")
    for graph, path in draft.quantized.items():
        shutil.copyfile(path, folder / f"{graph}.int8.onnx")
    parity = msgspec.json.format(msgspec.json.encode(draft.parity), indent=2)
    (folder / "PARITY.json").write_bytes(parity + b"\n")
    (folder / "CARD.md").write_text(draft.card, encoding="utf-8")
    (folder / "split.json").write_bytes(draft.split)
    documents = {"parity": "PARITY.json", "card": "CARD.md", "split": "split.json"}
    if not draft.graphs:
        raise BundleInvalid(f"bundle {name} has no graph; export one at least")
    manifest = Manifest(
        name=name,
        version=number,
        task=draft.task,
        description=draft.description,
        input=draft.input,
        pose=draft.pose,
        behavior=draft.behavior,
        graphs={graph: describe_file(folder, f"{graph}.onnx") for graph in draft.graphs},
        quantized={graph: describe_file(folder, f"{graph}.int8.onnx") for graph in draft.quantized},
        documents={key: describe_file(folder, file) for key, file in documents.items()},
        precisions=draft.parity.precisions(),
        provenance=draft.provenance,
    )
    write_manifest(folder, manifest)

"""Writes a bundle as a model repository of Triton, whole or not at all."""

import shutil
from pathlib import Path

from export.new_folder import new_folder
from export.triton.models import LABELS_FILE, TritonModel, triton_models
from export.triton.readme import readme
from export.triton.text_format import to_text
from service.bundle import Bundle
from service.errors import InvalidConfig


def write_triton_repository(bundle: Bundle, out: Path) -> list[TritonModel]:
    """Write the folder `out` and return the models in it.

    It holds <model>/config.pbtxt, <model>/<version>/model.onnx and labels.txt for each model, a
    README.md that says what a client sends and gets, and the bundle's CARD.md. The version is the
    bundle's.

    Raises:
        InvalidConfig: `out` exists, or the bundle did not pass its parity gate on ONNX Runtime.
    """
    if out.exists():
        raise InvalidConfig(
            f"{out} exists; name a folder that does not, or delete it first. Triton serves several "
            "repositories: give it --model-repository for each"
        )
    models = triton_models(bundle)
    with new_folder(out) as folder:
        for model in models:
            _write(model, folder / model.name, bundle.version)
        (folder / "README.md").write_text(readme(bundle, models), encoding="utf-8")
        if card := bundle.document("card"):
            (folder / "CARD.md").write_text(card, encoding="utf-8")
    return models


def _write(model: TritonModel, folder: Path, version: int) -> None:
    (folder / str(version)).mkdir(parents=True)
    (folder / "config.pbtxt").write_text(to_text(model.config), encoding="utf-8")
    if model.graph is not None:
        shutil.copyfile(model.graph, folder / str(version) / "model.onnx")
    if model.labels:
        (folder / LABELS_FILE).write_text("\n".join(model.labels) + "\n", encoding="utf-8")

"""What all importers share: their options, and how a bundle tells that it was imported."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.parity import ParityReport
from service.bundle import Provenance, file_sha256
from service.errors import InvalidConfig
from training.runs import Split, code_commit


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the command was told beside the source."""

    frames: Path | None = None
    """For the gate: a video, a folder, or labelled data; None simulates frames."""
    most_frames: int = 64
    """Frames that the gate looks at."""
    int8: bool = False
    """Quantize, calibrated on other frames of the same source."""
    size_px: tuple[int, int] | None = None
    """(width, height) of the model input, where the source leaves it open."""
    animals: int = 1
    """N, rows of keypoints a frame."""
    config: Path | None = None
    """A configuration that does not lie where the tool keeps it."""
    description: str = ""
    license: str = "not stated"
    about: str = ""
    """Markdown for the card."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.most_frames < 1 or self.animals < 1:
            raise InvalidConfig(
                f"{self.most_frames} frames for the gate and {self.animals} animals; give at "
                "least one of each"
            )
        if self.int8 and self.frames is None:
            raise InvalidConfig(
                "int8 is calibrated on real frames; name some of the kind that the model was "
                "trained on with --frames, or leave --int8 out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an imported model comes from."""

    tool: str
    """Such as `DeepLabCut 3`."""
    files: tuple[Path, ...]
    """Weights and graphs, the main one first."""
    facts: tuple[str, ...]
    """Lines for the card: what was read and how it was understood."""


def provenance(origin: Origin, license: str, metrics: dict[str, float]) -> Provenance:
    """Return the section of the manifest; the hash is that of the source's main file."""
    main = origin.files[0]
    return Provenance(
        run=f"imported from {origin.tool}: {main.name}",
        code_commit=code_commit(),
        data=f"not known; SHA-256 is that of {main.name}",
        data_sha256=file_sha256(main),
        license=license,
        metrics=metrics,
    )


def split() -> bytes:
    """Return a split.json that says that nothing is known of the training frames."""
    nothing = Split(
        rule="imported: which frames it was trained on is not known",
        seed=0,
        training=(),
        validation=(),
        test=(),
    )
    return msgspec.json.format(msgspec.json.encode(nothing), indent=2) + b"\n"


def write_card(
    title: str, origin: Origin, parity: ParityReport, measured: str, options: ImportOptions
) -> str:
    """Return CARD.md.

    Args:
        title: what the model answers.
        origin: where it is from.
        parity: what the engines gave.
        measured: Markdown with the error on labelled frames; empty where there are none.
        options: license and text of the one who imported it.
    """
    lines = [
        f"# {title}",
        "",
        *([options.about.strip(), ""] if options.about.strip() else []),
        f"Imported from {origin.tool}. Its training data and its accuracy are not part of the "
        "source: measure it on labelled frames of your own with `ethostream evaluate` before you "
        "rely on it.",
        "",
        "## Source",
        "",
        *(
            f"- `{path.parent.name}/{path.name}`, SHA-256 `{file_sha256(path)}`."
            for path in origin.files
        ),
        *(f"- {fact}" for fact in origin.facts),
        "",
    ]
    if measured:
        lines += ["## Error on the frames of the import", "", measured, ""]
    lines += [
        "## Engines",
        "",
        f"Against {parity.reference}: {parity.samples} frames. Gate: {parity.gate}."
        + (f" {parity.quantization}." if parity.quantization else ""),
        "",
    ]
    names = list(dict.fromkeys(name for row in parity.rows for name in row.figures))
    lines += [
        f"| engine | precision | passed | {' | '.join(one.replace('_', ' ') for one in names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for row in parity.rows:
        cells = [f"{row.figures[name]:.4g}" if name in row.figures else "-" for name in names]
        lines.append(
            f"| {row.engine} {row.engine_version} | {row.precision} | "
            f"{'yes' if row.passed else 'no'} | " + " | ".join(cells) + " |"
        )
    lines += ["", "## License", "", f"The weights: {options.license}.", ""]
    return "\n".join(lines)

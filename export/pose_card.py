"""CARD.md of a pose bundle: what a user must know before trusting it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.parity import ParityReport, ParityRow
from training.pose.settings import PoseTraining
from training.runs import Run


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """Figures of one kind of frames."""

    title: str
    """Such as `held-out real frames`."""
    frames: int
    figures: Mapping[str, object]
    """As `training.pose.evaluate.summarize` returns them."""


def write_card(
    run: Run,
    settings: PoseTraining,
    parts: list[MeasuredPart],
    parity: ParityReport,
    *,
    license: str,
    about: str,
) -> str:
    """Return the Markdown text.

    Args:
        run: the training run.
        settings: its settings.
        parts: figures by kind of frames, those of the gate first, measured with torch in fp32.
        parity: what the engines gave.
        license: license of the weights.
        about: Markdown on the sources, their licenses and the intended use.
    """
    split = run.split()
    spec = settings.input
    loop = settings.loop
    lines = [
        "# Keypoints: " + ", ".join(settings.keypoints),
        "",
        about.strip(),
        "",
        "## Error",
        "",
        "Euclidean distance in px of the frame as sent, between the found and the labelled point;",
        "all points count, whatever their confidence. Measured with torch in fp32.",
        "",
        "| frames | keypoint | points | mean px | median px | RMSE px | confident "
        "| mean px of these |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        lines += _rows(part)
    lines += [
        "",
        "## Training",
        "",
        f"- Split: {split.rule}, drawn with seed {split.seed}: {len(split.training)} trained, "
        f"{len(split.validation)} chose the epoch, {len(split.test)} are held out for the report. "
        "`split.json` names them all.",
        f"- Views: {settings.views_per_epoch} an epoch for up to {loop.max_epochs} epochs, "
        f"{settings.simulated_share:.0%} of them of {settings.simulated_frames} simulated frames.",
        f"- Input: {spec.width_px}x{spec.height_px} px {spec.color}, {spec.fit}.",
        f"- Network: {_network(settings)}.",
        f"- Run `{run.name}` at commit `{run.versions()['commit']}`, "
        f"torch {run.versions()['torch']}, seed {loop.seed}.",
        f"- SHA-256 of the labelled data: `{settings.data_sha256}`.",
        "",
        "## Engines",
        "",
        f"Against {parity.reference} on {parity.samples} {parts[0].title}. Gate: {parity.gate}.",
        "",
        "| engine | precision | passed | mean distance px | median | max | worst frame "
        "| error on labels px, before and after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_parity_row(row) for row in parity.rows]
    if parity.quantization:
        lines += ["", f"{parity.quantization}."]
    lines += ["", "## License", "", f"The weights: {license}.", ""]
    return "\n".join(lines)


def _parity_row(row: ParityRow) -> str:
    names = ("mean_distance_px", "median_distance_px", "max_distance_px")
    distances = [f"{row.figures[name]:.4f}" if name in row.figures else "-" for name in names]
    errors = [_number(row.figures.get(name)) for name in ("reference_error_px", "error_px")]
    cells = [
        f"{row.engine} {row.engine_version}",
        row.precision,
        "yes" if row.passed else "no",
        *distances,
        row.worst_frame,
        ", ".join(errors),
    ]
    return "| " + " | ".join(cells) + " |"


def _network(settings: PoseTraining) -> str:
    chosen = settings.network
    weights = chosen.backbone_weights
    if chosen.backbone_weights_sha256 is not None:
        weights = f"{Path(weights).name} {chosen.backbone_weights_sha256}"
    start = (
        f"weights {weights}" if settings.parent is None else f"from {Path(settings.parent).name}"
    )
    return f"{chosen.backbone}, stride {chosen.output_stride}, {chosen.head} head; {start}"


def _rows(part: MeasuredPart) -> list[str]:
    per_keypoint = part.figures["per_keypoint"]
    assert isinstance(per_keypoint, dict), "summarize gives figures by keypoint"
    title = f"{part.frames} {part.title}"
    rows = [_row(title, "**all**", part.figures)]
    return rows + [_row("", name, figures) for name, figures in per_keypoint.items()]


def _row(title: str, keypoint: str, figures: Mapping[str, object]) -> str:
    numbers = [
        _number(figures.get(name)) for name in ("mean_error_px", "median_error_px", "rmse_px")
    ]
    share = figures.get("confident_share")
    confident = f"{share:.1%}" if isinstance(share, float) else "-"
    sure = _number(figures.get("confident_mean_error_px"))
    cells = [title, keypoint, str(figures["points"]), *numbers, confident, sure]
    return "| " + " | ".join(cells) + " |"


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-"

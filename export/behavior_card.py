"""CARD.md of a behavior bundle: what a user must know before trusting it."""

from collections.abc import Mapping
from dataclasses import dataclass

from export.parity import ParityReport, ParityRow
from service.bundle import BehaviorSpec
from training.behavior.settings import BehaviorTraining
from training.runs import Run


@dataclass(frozen=True, slots=True)
class MeasuredRecordings:
    """Figures of one group of held-out recordings."""

    title: str
    recordings: int
    figures: Mapping[str, object]
    """As `training.behavior.figures.summarize` returns them."""


def write_card(
    run: Run,
    settings: BehaviorTraining,
    spec: BehaviorSpec,
    parts: list[MeasuredRecordings],
    parity: ParityReport,
    *,
    license: str,
    about: str,
) -> str:
    """Return the Markdown text.

    Args:
        run: the training run.
        settings: its settings.
        spec: the bundle's section.
        parts: figures by group of held-out recordings, measured with torch in fp32.
        parity: what the engines gave.
        license: license of the weights.
        about: Markdown on the sources, their licenses and the intended use.
    """
    split, versions = run.split(), run.versions()
    size = settings.input
    kind = "one of them a frame" if spec.exclusive else "any number of them a frame"
    lines = [
        "# Behaviors: " + ", ".join(spec.behaviors),
        "",
        f"{about.strip()}",
        "",
        f"The answer is {kind}, for recordings at {spec.frame_rate_hz:g} frames/s. "
        + _sight(settings, spec),
        "",
        "## Figures on held-out recordings",
        "",
        "Frame by frame, before the bout rule, on all frames that are labelled and answered; "
        "torch in fp32. Chance is the macro F1 of the same "
        "predictions turned around by a random time within each recording (mean of 100).",
        "",
    ]
    for part in parts:
        lines += [*_overview(part), "", *_per_class(part), ""]
    lines += _decisions(spec, is_chosen=bool(split.validation))
    lines += [
        "## Training",
        "",
        f"- Split: {split.rule}. {len(split.training)} recordings trained, "
        + (
            f"{len(split.validation)} chose epochs{'' if spec.exclusive else ' and thresholds'}, "
            if split.validation
            else "none chose the epoch, so that the last one was taken, "
        )
        + f"{len(split.test)} are reported above; `split.json` names them all.",
        f"- Input: {size.width_px}x{size.height_px} px {size.color}, {size.fit}; "
        f"{spec.flow_frames} flows.",
        f"- Preset {settings.preset}: flow trained without labels, then two-stream features "
        f"(starting weights: {settings.backbone_weights or 'random'}), then "
        f"{_SEQUENCES[settings.sequence_model]}.",
        f"- Run `{run.name}` at commit `{versions['commit']}`, torch {versions['torch']}, "
        f"seed {settings.seed}.",
        f"- SHA-256 of the labelled data: `{settings.data_sha256}`.",
        "",
        "## Engines",
        "",
        f"Against {parity.reference} on {parity.samples} frames of held-out recordings. "
        f"Gate: {parity.gate}.",
        "",
        "| engine | precision | passed | equal frames | mean logit difference | max "
        "| worst frame | macro F1, before and after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_parity_row(row) for row in parity.rows]
    if parity.quantization:
        lines += ["", f"{parity.quantization}."]
    lines += ["", "## License", "", f"The weights: {license}.", ""]
    return "\n".join(lines)


def _parity_row(row: ParityRow) -> str:
    def text(name: str, spec: str) -> str:
        value = row.figures.get(name)  # an engine that did not answer has few figures
        return "-" if value is None else format(value, spec)

    f1 = (text(name, ".4f") for name in ("reference_macro_f1", "macro_f1"))
    cells = [
        f"{row.engine} {row.engine_version}",
        row.precision,
        "yes" if row.passed else "no",
        text("equal_share", ".2%"),
        text("mean_logit_difference", ".2g"),
        text("max_logit_difference", ".2g"),
        row.worst_frame,
        ", ".join(f1),
    ]
    return "| " + " | ".join(cells) + " |"


_SEQUENCES = {
    "causal": "causal temporal convolutions",
    "tgm": "a temporal Gaussian mixture",
    "linear": "a linear layer",
    "conv": "two temporal convolutions",
    "none": "no sequence model",
}


def _sight(settings: BehaviorTraining, spec: BehaviorSpec) -> str:
    """Say which frames an answer depends on."""
    past = spec.past_frames + spec.sequence_past_frames
    if spec.sequence == "causal":
        past += 2 * sum(settings.sequence_dilations)
    later = f"{spec.future_frames} later ones" if spec.future_frames else "no later one"
    ends = (
        "The mean color stands for frames beyond its ends."
        if spec.window_fill
        else f"The first {spec.past_frames} frames of a recording answer NO_CONTEXT."
    )
    return f"It looks at the frame, {past} earlier ones and {later}. {ends}"


def _overview(part: MeasuredRecordings) -> list[str]:
    names = {
        "macro_f1": "macro F1",
        "chance_f1": "chance macro F1",
        "macro_f1_without_background": "macro F1 without background",
        "macro_f1_after_bout_rule": "macro F1 after the bout rule",
        "accuracy": "accuracy",
        "auroc": "mean AUROC",
        "clip_macro_f1": "macro F1 of whole clips",
        "clip_accuracy": "accuracy of whole clips",
    }
    figures = part.figures
    shown = [
        f"{text} **{_number(figures[name])}**" for name, text in names.items() if name in figures
    ]
    clips = f", {figures['clips']} clips" if "clips" in figures else ""
    return [
        f"### {part.title[0].upper()}{part.title[1:]}: {part.recordings} recordings{clips}, "
        f"{figures['frames']} frames",
        "",
        ", ".join(shown) + ".",
    ]


def _per_class(part: MeasuredRecordings) -> list[str]:
    per_class = part.figures["per_class"]
    assert isinstance(per_class, dict), "summarize gives figures by behavior"
    rows = [
        "| behavior | labelled frames | F1 | precision | recall | AUROC |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in per_class.items():
        numbers = [_number(figures[key]) for key in ("f1", "precision", "recall", "auroc")]
        rows.append(f"| {name} | {figures['frames']} | {' | '.join(numbers)} |")
    return rows


def _decisions(spec: BehaviorSpec, *, is_chosen: bool) -> list[str]:
    rows = ["## Thresholds and bout rule", ""]
    if spec.exclusive:
        rows.append("The most probable behavior is present; there are no thresholds.")
    else:
        rows += ["| behavior | threshold | shortest bout, frames |", "|---|---|---|"]
        rows += [
            f"| {name} | {threshold:.3f} | {shortest} |"
            for name, threshold, shortest in zip(
                spec.behaviors, spec.thresholds, spec.min_bout_frames, strict=True
            )
        ]
        rows += [
            "",
            f"Chosen {'on the validation recordings alone' if is_chosen else 'by nobody'}.",
        ]
    if spec.exclusive:
        frames = ", ".join(
            f"{name} {shortest}"
            for name, shortest in zip(spec.behaviors[1:], spec.min_bout_frames[1:], strict=True)
        )
        rows.append(f"Shortest bouts that the bout rule keeps, in frames: {frames}.")
    return [*rows, ""]


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"

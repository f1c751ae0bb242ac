"""Imports DeepEthogram: flow generator, feature extractor and sequence model of a project.

Written from the published description (Bohnslav et al. 2021, eLife 10:e63377) and from the names
and shapes of its weights; it never sees DeepEthogram's own code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export.behavior import export_behavior_graphs
from export.importers.deepethogram_files import (
    ProjectFiles,
    find_files,
    frame_rate_hz,
    read_thresholds,
    shortest_bouts,
)
from export.importers.deepethogram_outputs import Comparison, compare_with_outputs
from export.importers.draft import ImportOptions, Origin, provenance, split, write_card
from export.importers.frames import read_gate_footage
from export.importers.gate import measure_behavior
from export.write_bundle import BundleDraft
from service.behavior import BACKGROUND
from service.bundle import InputSpec, file_sha256
from service.errors import InvalidConfig
from training.behavior.deepethogram_weights import (
    FLOW_WEIGHT,
    STATISTICS,
    AsTrained,
    Wiring,
    feature_weights,
    flow_weights,
    fusion_of,
    is_average,
    preset_of,
    sequence_weights,
)
from training.behavior.networks.base import FeatureExtractor
from training.behavior.networks.two_stream import TwoStream, TwoStreamResNet
from training.behavior.presets import PRESETS, new_features, new_flow, new_sequence
from training.behavior.settings import BehaviorTraining, Decisions, StageSettings
from training.behavior.stages import Networks
from training.behavior.trained import behavior_spec, torch_graphs
from training.checkpoints import fit_weights

_DEFAULT_SIDE_PX = 224
_UNUSED_SEQUENCE = ("h2.*", "tgm_layers.*.delta")
"""Tensors of the sequence model that never change an answer."""
_LEAST_COMPARED = 40
"""Frames beside DeepEthogram's own answers, so that some of them have their look-ahead."""
_REFERENCE = "the imported networks, torch fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepEthogramOptions:
    """What only this importer needs."""

    features: Path | None = None
    """Checkpoint or run folder of the feature extractor; None takes the newest."""
    sequence: Path | None = None
    """The same of the sequence model."""
    with_sequence: bool = True
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By behavior, instead of those that are found."""
    frame_rate_hz: float | None = None
    """Of the recordings that were trained on; None takes that of the project's first video."""
    wiring: Wiring = field(default_factory=Wiring)


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """The networks of a project."""

    files: ProjectFiles
    settings: BehaviorTraining
    """Of a training of ours that would give such networks."""
    networks: Networks


def draft_bundle(
    source: Path,
    folder: Path,
    options: ImportOptions,
    chosen: DeepEthogramOptions | None = None,
) -> BundleDraft:
    """Import a project's networks.

    Args:
        source: the project's folder, or the checkpoint of its feature extractor.
        folder: where the graphs are written.
        options: those of every importer.
        chosen: those of this one.

    Raises:
        BundleInvalid: an engine disagrees with the imported networks.
        InvalidConfig: the project cannot be read, or its weights are not of a preset.
    """
    own = chosen or DeepEthogramOptions()
    imported = read_model(source, options, own)
    files, settings, networks = imported.files, imported.settings, imported.networks
    thresholds, found = _thresholds(files, settings, own)
    decisions = Decisions(
        thresholds=thresholds,
        min_bout_frames=tuple(
            shortest_bouts(files, settings.behaviors, exclusive=settings.exclusive)
        ),
    )
    spec = behavior_spec(settings, decisions, networks)
    paths = export_behavior_graphs(networks, settings, folder)
    footage = read_gate_footage(
        options.frames,
        settings.input,
        spec,
        most=options.most_frames,
        calibrates=options.int8,
    )
    gate = measure_behavior(paths, torch_graphs(networks), footage, spec, name=_REFERENCE)
    compared = compare_with_outputs(
        files, networks, settings.input, spec, most=max(options.most_frames, _LEAST_COMPARED)
    )
    stages = (files.features, *((files.sequence,) if files.sequence else ()))
    origin = Origin(
        tool="DeepEthogram",
        files=tuple(stage.path for stage in stages),
        facts=(
            *_facts(settings, own.wiring, decisions, found),
            *(_compared(one) for one in compared),
        ),
    )
    title = "Behaviors: " + ", ".join(settings.behaviors)
    return BundleDraft(
        task="behavior",
        description=options.description
        or f"{', '.join(settings.behaviors)}; imported from DeepEthogram",
        input=settings.input,
        behavior=spec,
        graphs=paths,
        quantized=dict(gate.quantized),
        parity=gate.parity,
        card=write_card(title, origin, gate.parity, "", options),
        split=split(),
        provenance=provenance(
            origin,
            options.license,
            {f"original_{one.group}_equal_share": one.equal_share for one in compared},
        ),
    )


def read_model(source: Path, options: ImportOptions, own: DeepEthogramOptions) -> ImportedModel:
    """Read a project's networks, for evaluation.

    Args:
        source: as for `draft_bundle`.
        options: those of every importer; of them, only the size counts.
        own: those of this one.

    Raises:
        InvalidConfig: as for `draft_bundle`.
    """
    files = find_files(
        source,
        features=own.features,
        sequence=own.sequence,
        with_sequence=own.with_sequence,
    )
    settings = _settings(files, options, own)
    return ImportedModel(files, settings, _networks(files, settings, own.wiring))


def _settings(
    files: ProjectFiles, options: ImportOptions, own: DeepEthogramOptions
) -> BehaviorTraining:
    """Return the settings of a training of ours that would give these networks."""
    _check_pixels(files)
    preset = preset_of(files.features.tensors, files.features.path)
    names = files.class_names()
    activation = files.configuration("feature_extractor", "final_activation", "sigmoid")
    exclusive = activation == "softmax"
    named = tuple(name for name in names if name != BACKGROUND)
    statistics = files.statistics()
    width_px, height_px = options.size_px or _size(files)
    multiple = PRESETS[preset].size_multiple
    if width_px % multiple or height_px % multiple:
        raise InvalidConfig(
            f"the size {width_px}x{height_px} px does not suit {preset}; give multiples of "
            f"{multiple} with --size"
        )
    nothing = StageSettings(epochs=1)
    return BehaviorTraining(
        data=(),
        data_sha256=file_sha256(files.features.path),
        behaviors=(BACKGROUND, *named) if exclusive else named,
        exclusive=exclusive,
        frame_rate_hz=own.frame_rate_hz or frame_rate_hz(files),
        input=InputSpec(width_px=width_px, height_px=height_px, color="rgb", fit="stretch"),
        preset=preset,
        color_mean=statistics.mean,
        color_std=statistics.std,
        # As bytes, cut off and not rounded: what DeepEthogram fills the ends of a video with.
        window_fill=tuple(int(value * 255) for value in statistics.mean),
        backbone_weights=None,
        validation=(),
        test=(),
        flow_frames=10,
        fusion=fusion_of(files.features.tensors),
        flow=nothing,
        features=nothing,
        sequence=nothing,
        sequence_model="tgm" if files.sequence is not None else "none",
    )


def _check_pixels(files: ProjectFiles) -> None:
    for key in ("crop_size", "pad"):
        if files.configuration("augs", key, None):
            raise InvalidConfig(
                f"{files.folder} has augs.{key}, which no bundle can do; crop the videos instead, "
                "and train without it"
            )
    place = files.configuration("feature_extractor", "label_location", "middle")
    if place != "middle":
        raise InvalidConfig(
            f"{files.folder} has label_location {place}; only networks that answer the middle "
            "frame of their window, as the presets do, can be imported"
        )


def _size(files: ProjectFiles) -> tuple[int, int]:
    """Return (width, height) of augs.resize, which has the height first."""
    sides = files.configuration("augs", "resize", [_DEFAULT_SIDE_PX] * 2)
    sides = [sides, sides] if isinstance(sides, int) else sides
    if not isinstance(sides, list) or len(sides) != 2 or not all(type(one) is int for one in sides):
        raise InvalidConfig(f"{files.folder} has augs.resize {sides!r}; give --size WIDTHxHEIGHT")
    return sides[1], sides[0]


def _networks(files: ProjectFiles, settings: BehaviorTraining, wiring: Wiring) -> Networks:
    names = files.class_names()
    kept = [names.index(one) for one in settings.behaviors if one in names]
    path, tensors = files.features.path, files.features.tensors
    if settings.exclusive and BACKGROUND not in names:
        raise InvalidConfig(
            f"{files.folder} has exclusive behaviors without a background; a bundle needs one"
        )
    flow = new_flow(settings)
    fit_weights(
        flow,
        flow_weights(tensors, settings.preset, wiring),
        path=path,
        prefix="flow_generator.",
        constant=STATISTICS,
    )
    features = new_features(settings, None)
    assert isinstance(features, TwoStream), "the presets of DeepEthogram have two streams"
    if wiring.as_trained and is_average(features):
        features.fusion.flow_weight = FLOW_WEIGHT  # type: ignore[assignment]
    weights = feature_weights(tensors, kept, len(names), path)
    fit_weights(features, weights, path=path, constant=STATISTICS)
    shown: FeatureExtractor = features
    if wiring.as_trained and isinstance(features, TwoStreamResNet):
        shown = AsTrained(features)
    sequence = new_sequence(settings, features.feature_size)
    if sequence is not None:
        assert files.sequence is not None, "the settings name a sequence where there is one"
        after = files.sequence
        fit_weights(
            sequence,
            sequence_weights(after.tensors, kept, len(names), after.path, wiring),
            path=after.path,
            ignored=_UNUSED_SEQUENCE,
        )
    for network in (flow, shown, sequence):
        if network is not None:
            network.eval()
    return Networks(flow, shown, sequence)


def _thresholds(
    files: ProjectFiles, settings: BehaviorTraining, own: DeepEthogramOptions
) -> tuple[tuple[float, ...], str]:
    """Return one threshold a behavior, and where they are from."""
    names = files.class_names()
    values, found = read_thresholds(files, names)
    known = dict(zip(names, values or np.full(len(names), 0.5), strict=True))
    strange = [name for name in own.thresholds if name not in settings.behaviors]
    if strange:
        raise InvalidConfig(
            f"--threshold names {strange[0]}; the behaviors are {', '.join(settings.behaviors)}"
        )
    if settings.exclusive:
        return (0.5,) * len(settings.behaviors), "not used, the behaviors are exclusive"
    chosen = known | dict(own.thresholds)
    if own.thresholds:
        found = f"the command ({', '.join(own.thresholds)}), {found}"
    elif values is None:
        found = "nowhere, so they are 0.5: choose better ones on labelled recordings"
    return tuple(float(chosen[name]) for name in settings.behaviors), found


def _facts(
    settings: BehaviorTraining, wiring: Wiring, decisions: Decisions, found: str
) -> tuple[str, ...]:
    shown = ", ".join(
        f"{name} {value:g}"
        for name, value in zip(settings.behaviors, decisions.thresholds, strict=True)
    )
    quirks = (
        "with DeepEthogram's own quirks, as the weights were trained: its 2-D networks take green "
        "and blue of the middle frame and red of the next one for its colors, and its average "
        f"counts the flows {FLOW_WEIGHT} times"
        if wiring.as_trained
        else "as the paper describes it, without the quirks that the weights were trained with"
    )
    return (
        f"Preset {settings.preset}, fusion {settings.fusion}, sequence {settings.sequence_model}; "
        f"{quirks}.",
        f"Flows are brought up by a factor of {wiring.up_flow_factor}, joined {wiring.joined}, "
        f"temporal mixes {wiring.mixes}.",
        f"Colors: mean {settings.color_mean}, deviation {settings.color_std}, of red, green, blue "
        "in [0, 1].",
        f"Thresholds: {shown} (from {found}). The background is what remains.",
        "The sequence looks at 21 frames on both sides of each; DeepEthogram cuts recordings every "
        "180 frames, so its answers differ near those cuts.",
    )


def _compared(one: Comparison) -> str:
    return (
        f"Against DeepEthogram's own answers ({one.outputs.name}, {one.group}): "
        f"{one.equal_share:.1%} of {one.frames} frames have the same behaviors, probabilities "
        f"differ by {one.mean_difference:.4f} on average. Where they are of another training, or "
        "the wiring is another one, they disagree."
    )

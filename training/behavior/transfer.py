"""Starts a run from another one, or from DeepEthogram's weights; behaviors may be others."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import msgspec
import torch

from service.errors import InvalidConfig
from training.behavior.deepethogram_weights import (
    STATISTICS,
    Wiring,
    class_count,
    feature_weights,
    flow_weights,
    fusion_of,
    network_tensors,
    paper_colors,
    preset_of,
)
from training.behavior.networks.base import FeatureExtractor, FlowGenerator
from training.behavior.networks.two_stream import TwoStream
from training.behavior.presets import new_features, new_flow
from training.behavior.settings import BehaviorTraining
from training.behavior.stages import read_networks
from training.checkpoints import fit_weights, read_checkpoint
from training.runs import Split, open_run

log = logging.getLogger("ethostream.training")


@dataclass(frozen=True, slots=True)
class Parent:
    """The networks that a run starts at."""

    flow: FlowGenerator
    features: FeatureExtractor
    behaviors: tuple[str, ...]
    """What the last layers of the features answer; none where that is not known."""


def go_on_from(settings: BehaviorTraining, path: Path) -> BehaviorTraining:
    """Return the settings of a run that starts at the networks of `path`.

    What the networks of a run were trained to see stays: the mean color and its deviation, and
    what stands for frames beyond the ends.

    Args:
        settings: of the new run.
        path: a run, or the checkpoint of a DeepEthogram feature extractor.

    Raises:
        NotFound: `path` is no run.
        InvalidConfig: it is of another task, or has other networks than the settings say.
    """
    if settings.backbone_weights is not None:
        raise InvalidConfig(
            f"the networks start at those of {path}; leave out --backbone-weights "
            f"({settings.backbone_weights.split()[0]})"
        )
    started = msgspec.structs.replace(settings, parent=str(path.resolve()))
    known: dict[str, str]
    if path.is_file():
        tensors = network_tensors(read_checkpoint(path), path)
        known = {"preset": preset_of(tensors, path), "fusion": fusion_of(tensors)}
    else:
        parent = _settings(path)
        known = {"preset": parent.preset, "fusion": parent.fusion, "color": parent.input.color}
        known["flow-frames"] = str(parent.flow_frames)
        started = msgspec.structs.replace(
            started,
            color_mean=parent.color_mean,
            color_std=parent.color_std,
            window_fill=parent.window_fill,
        )
    wanted = {
        "preset": settings.preset,
        "fusion": settings.fusion,
        "color": settings.input.color,
        "flow-frames": str(settings.flow_frames),
    }
    for name, value in known.items():
        if wanted[name] != value:
            raise InvalidConfig(
                f"--{name} is {wanted[name]}, but {path} has {value}; give --{name} {value}, or "
                "train anew without --from"
            )
    return started


def read_parent(settings: BehaviorTraining) -> Parent:
    """Return the networks that `settings.parent` names.

    Raises:
        NotFound: it is gone, or no finished run.
        InvalidConfig: it is no checkpoint of such networks.
    """
    assert settings.parent is not None, "asked for where there is a parent"
    path = Path(settings.parent)
    if path.is_file():
        return _deepethogram(path, settings)
    networks = read_networks(open_run(path))
    return Parent(networks.flow, networks.features, _settings(path).behaviors)


def inherited_parts(
    path: Path, recordings: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return patterns of the recordings that validated and tested the run at `path`.

    None where either part has none of `recordings`, or `path` is no run but a checkpoint: then
    others must be chosen.

    Raises:
        NotFound: `path` is no run, or its training has not begun.
    """
    if path.is_file():
        return None
    split = open_run(path).split()
    validation, test = (
        tuple(escape(name) for name in part if name in recordings)
        for part in (split.validation, split.test)
    )
    return (validation, test) if validation and test else None


def warn_of_known_tests(path: Path, split: Split) -> None:
    """Tell which test recordings the run at `path` was trained on, as far as that is known."""
    if path.is_file():
        return
    known = sorted(set(split.test) & set(open_run(path).split().training))
    if known:
        log.warning(
            "the run %s was trained on the test recordings %s: their figures will be too good",
            path,
            ", ".join(known),
        )


def take_over(
    features: FeatureExtractor,
    behaviors: Sequence[str],
    earlier: FeatureExtractor,
    earlier_behaviors: Sequence[str],
) -> tuple[str, ...]:
    """Copy the weights of `earlier` into `features`, those of the last layers by behavior.

    Args:
        features: of the same preset; is changed.
        behaviors: its names in the order of its answers.
        earlier: the trained network.
        earlier_behaviors: its names.

    Returns:
        The behaviors that were taken over; others keep the start of a new network.
    """
    shared = tuple(name for name in behaviors if name in earlier_behaviors)
    target, source = features.state_dict(), earlier.state_dict()
    last = {id(one) for one in features.last_layers()}
    of_behaviors = {
        f"{name}.{kind}"
        for name, layer in features.named_modules()
        if id(layer) in last
        for kind in ("weight", "bias")
    }
    with torch.no_grad():
        for name, value in target.items():
            if name not in of_behaviors:
                value.copy_(source[name])
                continue
            for behavior in shared:
                row, known = behaviors.index(behavior), earlier_behaviors.index(behavior)
                value[row].copy_(source[name][known])
    if isinstance(features, TwoStream):
        features.remember_pretrained([name for name in target if name not in of_behaviors])
    return shared


def _settings(path: Path) -> BehaviorTraining:
    return open_run(path).settings("behavior", BehaviorTraining)


def _deepethogram(path: Path, settings: BehaviorTraining) -> Parent:
    """Read the checkpoint of a feature extractor, which holds its flow generator, too."""
    tensors = network_tensors(read_checkpoint(path), path)
    flow = new_flow(settings)
    wired = flow_weights(tensors, settings.preset, Wiring())
    fit_weights(flow, wired, path=path, prefix="flow_generator.", constant=STATISTICS)
    classes = class_count(tensors, path)
    names = tuple(f"class{number}" for number in range(classes))
    features = new_features(msgspec.structs.replace(settings, behaviors=names), None)
    weights = feature_weights(tensors, list(range(classes)), classes, path)
    fit_weights(features, paper_colors(weights), path=path, constant=STATISTICS)
    return Parent(flow, features, ())

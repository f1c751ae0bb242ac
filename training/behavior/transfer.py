"""Starts a run from another one, which may know other behaviors."""

import logging
from collections.abc import Sequence
from glob import escape
from pathlib import Path

import msgspec
import torch

from service.errors import InvalidConfig
from training.behavior.networks.base import FeatureExtractor
from training.behavior.networks.two_stream import TwoStream
from training.behavior.settings import BehaviorTraining
from training.runs import Split, open_run

log = logging.getLogger("ethostream.training")


def go_on_from(settings: BehaviorTraining, path: Path) -> BehaviorTraining:
    """Return the settings of a run that starts at the networks of the run at `path`.

    What the networks were trained to see stays: the mean color and its deviation, and what stands
    for frames beyond the ends.

    Raises:
        NotFound: `path` is no run.
        InvalidConfig: it is of another task, or has other networks than the settings say.
    """
    parent = open_run(path).settings("behavior", BehaviorTraining)
    if settings.backbone_weights is not None:
        raise InvalidConfig(
            f"the networks start at those of {path}; leave out --backbone-weights "
            f"({settings.backbone_weights.split()[0]})"
        )
    kept = {
        "preset": (settings.preset, parent.preset),
        "flow-frames": (settings.flow_frames, parent.flow_frames),
        "fusion": (settings.fusion, parent.fusion),
        "color": (settings.input.color, parent.input.color),
    }
    for name, (wanted, known) in kept.items():
        if wanted != known:
            raise InvalidConfig(
                f"--{name} is {wanted}, but the run {path} has {known}; give --{name} {known}, or "
                "train anew without --from"
            )
    return msgspec.structs.replace(
        settings,
        parent=str(path.resolve()),
        color_mean=parent.color_mean,
        color_std=parent.color_std,
        window_fill=parent.window_fill,
    )


def inherited_parts(
    path: Path, recordings: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return patterns of the recordings that validated and tested the run at `path`.

    None where either part has none of `recordings`: then others must be chosen.

    Raises:
        NotFound: `path` is no run, or its training has not begun.
    """
    split = open_run(path).split()
    validation, test = (
        tuple(escape(name) for name in part if name in recordings)
        for part in (split.validation, split.test)
    )
    return (validation, test) if validation and test else None


def warn_of_known_tests(path: Path, split: Split) -> None:
    """Tell which test recordings the run at `path` was trained on."""
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

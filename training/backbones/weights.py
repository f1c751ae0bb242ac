"""Brings ImageNet weights into a backbone: from a file, or as its library publishes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from service.errors import InvalidConfig
from training.backbones.base import Backbone
from training.checkpoints import read_state_dict


def load_weights(backbone: Backbone, source: Path | Literal["imagenet", "random"]) -> None:
    """Load `source` into `backbone`; layers beyond its cut are ignored.

    Raises:
        InvalidConfig: the weights cannot be fetched, or the file does not exist, is no state
            dict, or lacks a layer.
    """
    if source == "random":
        backbone.keeps_statistics = False
        backbone.train()
        return
    stored = _fetch(backbone) if source == "imagenet" else read_state_dict(Path(source))
    renamed = backbone.rename_weights(stored)
    wanted = backbone.state_dict()
    missing = [
        name
        for name, value in wanted.items()
        if name not in renamed or renamed[name].shape != value.shape
    ]
    if missing:
        raise InvalidConfig(
            f"{source} lacks {len(missing)} of {len(wanted)} layers of {backbone.name}, such as "
            f"{missing[0]}; give weights of {backbone.name} trained on ImageNet"
        )
    backbone.load_state_dict({name: renamed[name] for name in wanted})


def _fetch(backbone: Backbone) -> Mapping[str, Tensor]:
    try:
        return backbone.published_weights()
    except Exception as error:  # each library raises its own and those of the network
        raise InvalidConfig(
            f"the ImageNet weights of {backbone.name} cannot be fetched ({error}); give them as a "
            "file, or `random` to train from nothing (which needs many more frames)"
        ) from error

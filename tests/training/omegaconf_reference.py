"""Writes checkpoints with settings in them as OmegaConf 2.0 to 2.3 pickles a configuration.

The classes have the names of OmegaConf's and the attributes that it pickles; they are modules only
while a file is written, so that nothing that reads it can import them.
"""

import sys
import types
import typing
from collections import defaultdict
from pathlib import Path

import pytest
import torch

_CLASSES = {
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode",),
    "omegaconf.resolvers": ("Resolver",),
}


def save_with_omegaconf(path: Path, checkpoint: dict[str, object], settings: object) -> None:
    """Write a checkpoint as Lightning does where `hparams` is an OmegaConf configuration."""
    with pytest.MonkeyPatch.context() as patch:
        classes = {}
        patch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        for module, names in _CLASSES.items():
            patch.setitem(sys.modules, module, types.ModuleType(module))
            for name in names:
                classes[name] = type(name, (), {"__module__": module})
                setattr(sys.modules[module], name, classes[name])
        stored = {
            "hparams_name": "cfg",
            "hyper_parameters": _node(classes, settings, parent=None, key=None),
            "hparams_type": classes["DictConfig"],
        }
        torch.save({**checkpoint, **stored}, path)
    assert "omegaconf" not in sys.modules


def _node(classes: dict[str, type], value: object, *, parent: object, key: object) -> object:
    if isinstance(value, dict | list):
        node = classes["DictConfig" if isinstance(value, dict) else "ListConfig"]()
        items = value.items() if isinstance(value, dict) else enumerate(value)
        nodes = {name: _node(classes, one, parent=node, key=name) for name, one in items}
        content: object = nodes if isinstance(value, dict) else list(nodes.values())
        metadata = classes["ContainerMetadata"]()
        metadata.__dict__ |= {
            "ref_type": typing.Any,
            "object_type": type(value),
            "optional": True,
            "key": key,
            "flags": {"readonly": None},
            "resolver_cache": defaultdict(dict, {"env": {"HOME": "/home/lab"}}),
            "key_type": typing.Any,
            "element_type": typing.Any,
        }
        node.__dict__ |= {"_metadata": metadata, "_parent": parent, "_content": content}
        return node
    if value == "a resolver":
        return classes["Resolver"]()
    node = classes["AnyNode"]()
    metadata = classes["Metadata"]()
    kind = type(value) if isinstance(value, str | int | float) else None
    metadata.__dict__ |= {"ref_type": typing.Any, "object_type": kind, "key": key}
    node.__dict__ |= {"_metadata": metadata, "_parent": parent, "_val": value}
    return node

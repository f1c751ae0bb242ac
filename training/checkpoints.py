"""Reads weights of other tools without running what their files say, and fits them to networks."""

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from service.errors import InvalidConfig

_NAMED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_PLAIN_VALUES = [
    np.dtype,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    *(type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "?")),
]
"""Numbers of NumPy, which some tools store as losses and metrics; building them runs nothing."""


class Unread:
    """Stands for a setting of the training, stored as an object of a class that is not imported.

    Lightning stores the configuration of a run beside its weights, and DeepEthogram's is a tree of
    OmegaConf objects. What the file says of them goes nowhere.
    """

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Forget what the object held."""


def _no_entries(*_: object) -> dict[object, object]:
    """Stand for a mapping of a class that is not imported; entries are then set in it."""
    return {}


_UNREAD_CLASSES = (
    "argparse.Namespace",
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String")),
    "typing.Any",
)
"""What OmegaConf 2.0 to 2.3 write of an untyped configuration, and the settings of older tools."""
_STAND_INS = [
    *((Unread, name) for name in _UNREAD_CLASSES),
    (_no_entries, "collections.defaultdict"),
]


def read_checkpoint(path: Path) -> dict[str, object]:
    """Return what a checkpoint holds: tensors, numbers, texts, and lists and mappings of them.

    Settings that were stored as objects of OmegaConf or argparse are `Unread`.

    Args:
        path: a file of `torch.save`, or .safetensors, which is a state dict.

    Raises:
        InvalidConfig: the file does not exist, is damaged, holds anything else than such values
            (a pickle with code in it, which is not run), or is no mapping.
    """
    if not path.is_file():
        raise InvalidConfig(f"{path} does not exist; name a file of weights")
    if path.suffix == ".safetensors":
        return dict(_read_safetensors(path))
    try:
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([*_PLAIN_VALUES, *_STAND_INS]),
        ):
            warnings.simplefilter("ignore")
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidConfig(_refusal(path, str(error))) from error
    except Exception as error:  # torch raises those of zip, of pickle and of its own
        raise InvalidConfig(
            f"{path} cannot be read as torch weights ({type(error).__name__}: {error}); "
            "copy the file again"
        ) from error
    if not isinstance(stored, dict):
        raise InvalidConfig(
            f"{path} holds {type(stored).__name__}, not a mapping of names to tensors; "
            "name a checkpoint or a state dict"
        )
    return stored


def state_dict(
    checkpoint: Mapping[str, object], path: Path, keys: Sequence[str] = ("state_dict",)
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by their names.

    Args:
        checkpoint: what `read_checkpoint` returned.
        path: named in errors.
        keys: where tools keep their state dict; the first that is there is taken, and a
            checkpoint without any of them is taken for a state dict itself.

    Raises:
        InvalidConfig: there are no tensors.
    """
    found: object = checkpoint
    for key in keys:
        if isinstance(checkpoint.get(key), Mapping):
            found = checkpoint[key]
            break
    assert isinstance(found, Mapping), "checkpoints and their parts are mappings"
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InvalidConfig(
            f"{path} holds no tensors under {', '.join(keys)} or at its top (it holds "
            f"{', '.join(map(str, list(checkpoint)[:8])) or 'nothing'}); name a file of weights"
        )
    return tensors


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of a checkpoint that holds one.

    Raises:
        InvalidConfig: as `read_checkpoint` and `state_dict`.
    """
    return state_dict(read_checkpoint(path), path)


def fit_weights(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    path: Path,
    prefix: str = "",
    ignored: Sequence[str] = (),
    constant: Sequence[str] = (),
) -> None:
    """Load `tensors` into `network`; every one of its tensors must be there, in its shape.

    Args:
        network: its `state_dict` names and shapes are those that are expected.
        tensors: by their names in the file.
        path: named in errors.
        prefix: of the names in the file.
        ignored: patterns of names in the file, without the prefix, that the network does not
            need; every other one that it does not know is an error, since the file is then of
            another network.
        constant: patterns of names in the network that are no weights and keep their values.

    Raises:
        InvalidConfig: a tensor is missing, of another shape, or unknown; the message names it
            with the shapes that are expected and found.
    """
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not any(fnmatchcase(name, pattern) for pattern in constant)
    }
    for name, like in wanted.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in own:
            raise InvalidConfig(
                f"{path} has no tensor {prefix}{name}, of shape {tuple(like.shape)}; {_HINT}"
            )
        if own[name].shape != like.shape:
            raise InvalidConfig(
                f"the tensor {prefix}{name} of {path} has shape {tuple(own[name].shape)}, but "
                f"{tuple(like.shape)} is expected; {_HINT}"
            )
    for name in own:
        known = name in wanted or name.endswith("num_batches_tracked")
        if not known and not any(fnmatchcase(name, pattern) for pattern in ignored):
            raise InvalidConfig(
                f"{path} holds a tensor {prefix}{name} of shape {tuple(own[name].shape)}, which "
                f"the network that its configuration describes has not; {_HINT}"
            )
    kept = {name: own[name] for name in wanted if name in own}
    network.load_state_dict(kept, strict=False)


_HINT = "the file belongs to another network or configuration: name the pair that belongs together"


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidConfig(f"{path} is not a safetensors file ({error}); copy it again") from error
    return tensors


def _refusal(path: Path, message: str) -> str:
    named = _NAMED_GLOBAL.search(message)
    what = f"asks to run or build {named[1]}" if named else "holds more than numbers and texts"
    return (
        f"{path} is a pickle with code in it: it {what}, which could do anything on this machine, "
        "so it was not run. If you trust where the file is from, save its tensors alone on a "
        'machine that has the tool it was made with: python -c "import torch; '
        f"c = torch.load('{path.name}', weights_only=False); "
        "torch.save({k: c[k] for k in ('state_dict', 'model', 'pose', 'config', 'epoch') "
        "if k in c}, 'tensors-only.pt')\"; then import tensors-only.pt"
    )

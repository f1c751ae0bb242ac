import argparse
import pickle
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from service.errors import InvalidConfig
from tests.training.omegaconf_reference import save_with_omegaconf
from training.checkpoints import Unread, fit_weights, read_checkpoint, state_dict

pytestmark = pytest.mark.needs_train


class Poisoned:
    """A pickle of this writes a file as soon as it is read."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self._trace, "the code was run")


class Called:
    """A pickle that calls a class with what would be harmful to the real one."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return list, ("abc",)


class Settings(dict[str, int]):
    """What some tools store beside their weights: harmless, but not plain."""


@pytest.mark.parametrize("archived", [True, False], ids=["of torch", "plain pickle"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, archived: bool) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    content = {"state_dict": {"weight": torch.ones(2)}, "hyperparameters": Poisoned(trace)}
    if archived:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"hyperparameters": Poisoned(trace)}))
    with pytest.raises(InvalidConfig, match="pickle with code in it") as caught:
        read_checkpoint(path)
    assert not trace.exists()
    assert "weights_only=False" in str(caught.value)  # the remedy


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {}, "settings": Settings(a=1)}, path)
    with pytest.raises(InvalidConfig, match=r"run or build [\w.]*test_checkpoints"):
        read_checkpoint(path)


SETTINGS = {
    "project": {"name": "mice", "class_names": ["background", "groom"]},
    "train": {"lr": 1e-4, "patience": None, "steps": [1, 2.5, "all", {"auto": True}]},
    "flow_lr": "${train.lr}",
}


def test_settings_of_omegaconf_beside_the_weights_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "epoch=1-step=2.ckpt"
    weights = {"model.weight": torch.arange(6.0).reshape(2, 3)}
    save_with_omegaconf(path, {"epoch": 1, "state_dict": weights}, SETTINGS)
    checkpoint = read_checkpoint(path)
    assert torch.equal(state_dict(checkpoint, path)["model.weight"], weights["model.weight"])
    assert checkpoint["epoch"] == 1
    settings = checkpoint["hyper_parameters"]
    assert isinstance(settings, Unread)
    assert not vars(settings)
    assert "omegaconf" not in sys.modules


def test_settings_of_argparse_and_defaultdicts_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    counts = defaultdict(int, {"groom": 3})
    arguments = argparse.Namespace(lr=0.1, names=["a"])
    torch.save({"weight": torch.ones(2), "arguments": arguments, "counts": counts}, path)
    checkpoint = read_checkpoint(path)
    assert isinstance(checkpoint["arguments"], Unread)
    assert checkpoint["counts"] == {"groom": 3}
    assert type(checkpoint["counts"]) is dict


def test_code_within_settings_of_omegaconf_is_refused_and_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.ckpt", tmp_path / "trace"
    settings = {"train": {"lr": 0.1, "patience": Poisoned(trace)}}
    save_with_omegaconf(path, {"state_dict": {"weight": torch.ones(2)}}, settings)
    with pytest.raises(InvalidConfig, match="pickle with code in it"):
        read_checkpoint(path)
    assert not trace.exists()


def test_other_classes_of_omegaconf_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    save_with_omegaconf(path, {"state_dict": {}}, {"home": "a resolver"})
    with pytest.raises(InvalidConfig, match=r"run or build omegaconf\.resolvers\.Resolver"):
        read_checkpoint(path)


def test_what_stands_for_a_class_does_nothing_with_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "seen": Called()}, path)
    assert isinstance(read_checkpoint(path)["seen"], Unread)


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.arange(3.0)}, path)
    tensors = state_dict(read_checkpoint(path), path)
    assert torch.equal(tensors["weight"], torch.arange(3.0))
    path.write_bytes(b"no safetensors")
    with pytest.raises(InvalidConfig, match="not a safetensors file"):
        read_checkpoint(path)


def test_damaged_and_missing_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(InvalidConfig, match="does not exist"):
        read_checkpoint(path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(InvalidConfig, match=r"copy the file again|pickle with code"):
        read_checkpoint(path)
    torch.save(torch.ones(2), path)
    with pytest.raises(InvalidConfig, match="holds Tensor"):
        read_checkpoint(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InvalidConfig, match="holds no tensors"):
        state_dict(read_checkpoint(path), path)


def test_weights_below_a_prefix_are_loaded_and_constants_keep_their_values(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    kept = network.bias.detach().clone()
    tensors = {"inner.weight": torch.tensor([[3.0, 4.0]]), "other": torch.ones(1)}
    fit_weights(network, tensors, path=tmp_path, prefix="inner.", constant=("bias",))
    assert network.weight.tolist() == [[3.0, 4.0]]
    assert torch.equal(network.bias, kept)

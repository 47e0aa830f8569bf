"""Files that people have: each gives the network's own outputs, or one sentence that names file and key."""

from __future__ import annotations

import argparse
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prunebench.envs.errors import TaskError
from prunebench.envs.weights.checkpoint import load_weights

State = dict[str, Any]


class Net(nn.Module):
    """Its own names occur within each other, as a ResNet's do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.block = nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 4, 1), bn=nn.BatchNorm2d(4)))
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.block(self.bn(self.conv(x)).relu()).mean((2, 3)))


class Settings:
    """Somebody's own class, which must not be needed to read the weights beside it."""

    def __init__(self) -> None:
        self.rate = 0.1


class Attributes(dict[str, Any]):
    """A mapping of somebody's own, as EasyDict."""


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    return Net().eval()


def same(path: Path, source: nn.Module) -> None:
    """What is loaded from the file computes what the source computes."""
    torch.manual_seed(4)
    images = torch.randn(2, 3, 6, 6)
    found = Net()
    load_weights(found, path)
    with torch.no_grad():
        torch.testing.assert_close(found.eval()(images), source.float()(images))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_weights(Net(), path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    for word in (str(path), *words):
        assert word in message


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def averaged(net: Net) -> State:
    return torch.optim.swa_utils.AveragedModel(net).state_dict()


def momentum(net: Net) -> State:
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.randn(2, 3, 6, 6)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("key", ["net", "network", "model_state_dict", "ema", "state_dict_ema", "model_ema", "weights"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "net.backbone."])
def test_any_key_and_any_prefix(key: str, prefix: str, tmp_path: Path, net: Net) -> None:
    torch.save({"epoch": 3, key: prefixed(net.state_dict(), prefix)}, tmp_path / "w")
    same(tmp_path / "w", net)


FORMS: dict[str, Callable[[Net], Any]] = {
    "beside plain numbers": lambda net: {**net.state_dict(), "epoch": 3, "best": 0.5},
    "average": averaged,
    "average of a wrapped network": lambda net: averaged(nn.DataParallel(net)),  # type: ignore[arg-type]
    "compiled": lambda net: torch.compile(net).state_dict(),  # type: ignore[attr-defined]
    "a wrapper within": lambda net: {k.replace("block.", "block.module."): v for k, v in net.state_dict().items()},
    "a wrapper within an average": lambda net: {
        "n_averaged": torch.tensor(2),
        **{f"module.{k.replace('block.', 'block._orig_mod.')}": v for k, v in net.state_dict().items()},
    },
    "Lightning, with a loss and a metric": lambda net: {
        "state_dict": {
            **prefixed(net.state_dict(), "model."),
            "loss.weight": torch.ones(5),
            "acc.total": torch.ones(1),
        },
        "pytorch-lightning_version": "2.5",
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}},
    },
    "deep down": lambda net: {"payload": {"trainer": {"net": net.state_dict()}}},
    "in a list": lambda net: [net.state_dict(), 3],
    "beside an optimizer": lambda net: {"optimizer": momentum(net), "net": net.state_dict()},
    "the same twice": lambda net: {
        "model": net.state_dict(),
        "best": {k: v.clone() for k, v in net.state_dict().items()},
    },
    "beside another network's": lambda net: {"teacher": nn.Linear(4, 5).state_dict(), "student": net.state_dict()},
    "a NumPy number": lambda net: {"state_dict": net.state_dict(), "best": np.float64(0.9), "step": np.int64(3)},
    "a NumPy array": lambda net: {"state_dict": net.state_dict(), "history": np.arange(3.0)},
    "a namespace": lambda net: {"state_dict": net.state_dict(), "args": argparse.Namespace(rate=0.1, out=Path("x"))},
    "another namespace": lambda net: {"state_dict": net.state_dict(), "args": types.SimpleNamespace(rate=0.1)},
    "paths": lambda net: {"state_dict": net.state_dict(), "at": [Path("x"), PureWindowsPath("c:/x")]},
    "a default mapping": lambda net: {"net": net.state_dict(), "log": defaultdict(list, {"loss": [1.0]})},
    "in a default mapping": lambda net: defaultdict(dict, {"net": net.state_dict()}),
    "somebody's class": lambda net: {"net": net.state_dict(), "config": Settings(), "kind": Settings},
    "somebody's mapping": lambda net: {"net": net.state_dict(), "config": Attributes(rate=0.1)},
    "half": lambda net: {"net": {k: v.half() for k, v in net.state_dict().items()}},
    "bfloat16": lambda net: {"net": {k: v.bfloat16() for k, v in net.state_dict().items()}},
    "double": lambda net: {"net": {k: v.double() for k, v in net.state_dict().items()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_load(form: str, tmp_path: Path, net: Net) -> None:
    content = FORMS[form](net)
    torch.save(content, tmp_path / "w")
    if form in ("half", "bfloat16"):
        net = net.half() if form == "half" else net.bfloat16()
    same(tmp_path / "w", net)


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
@pytest.mark.parametrize("name", ["w.safetensors", "weights"])
def test_safetensors(name: str, prefix: str, tmp_path: Path, net: Net) -> None:
    save_file(prefixed(net.state_dict(), prefix), tmp_path / name, {"format": "pt"})
    same(tmp_path / name, net)


def test_the_format_before_torch_1_6(tmp_path: Path, net: Net) -> None:
    torch.save({"net": net.state_dict()}, tmp_path / "w", _use_new_zipfile_serialization=False)
    same(tmp_path / "w", net)


def doubled(net: Net) -> State:
    return {key: 2 * value for key, value in net.state_dict().items()}


SEVERAL: dict[str, tuple[Callable[[Net], Any], tuple[str, ...]]] = {
    "average": (lambda net: {"model": net.state_dict(), "ema": doubled(net)}, ("'ema'", "'model'")),
    "of timm": (lambda net: {"state_dict": doubled(net), "state_dict_ema": net.state_dict()}, ("'state_dict_ema'",)),
    "in one": (
        lambda net: prefixed(net.state_dict(), "online_model.") | prefixed(doubled(net), "ema_model."),
        ("'ema_model.*'", "'online_model.*'"),
    ),
    "under it": (
        lambda net: {**net.state_dict(), **prefixed(doubled(net), "ema.")},
        ("'ema.*'", "'the keys on top'"),
    ),
    "best and last": (lambda net: {"epochs": [net.state_dict(), doubled(net)]}, ("'epochs[0]'", "'epochs[1]'")),
}


@pytest.mark.parametrize("form", SEVERAL)
def test_of_several_that_differ_none_is_chosen(form: str, tmp_path: Path, net: Net) -> None:
    make, words = SEVERAL[form]
    torch.save(make(net), tmp_path / "w")
    refused(tmp_path / "w", "several sets", *words)


def changed(net: Net, value: Any) -> State:
    return {"net": {**net.state_dict(), "block.conv.weight": value(net.block.conv.weight.detach())}}  # type: ignore[union-attr]


def quantised(weight: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)


NUMBERS: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "int8": (lambda w: w.to(torch.int8), "int8"),
    "bool": (lambda w: w > 0, "bool"),
    "float8": (lambda w: w.to(torch.float8_e4m3fn), "quantised"),
    "qint8": (quantised, "quantised"),
    "sparse": (lambda w: w.to_sparse(), "sparse"),
    "rows": (lambda w: w[:, :, 0, 0].to_sparse_csr(), "another shape"),
    "meta": (lambda w: w.to("meta"), "meta"),
    "complex": (lambda w: w.to(torch.complex64), "complex"),
    "NaN": (lambda w: torch.full_like(w, torch.nan), "NaN"),
    "infinite": (lambda w: w / 0, "infinite"),
    "too large": (lambda w: w.double() * 1e300, "infinite as float32"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # quantised and sparse tensors are deprecated, or new
@pytest.mark.parametrize("form", NUMBERS)
def test_what_are_no_plain_numbers_is_refused_by_key(form: str, tmp_path: Path, net: Net) -> None:
    make, word = NUMBERS[form]
    torch.save(changed(net, make), tmp_path / "w")
    refused(tmp_path / "w", word, "block.conv.weight")


def test_statistics_that_are_not_finite_are_refused(tmp_path: Path, net: Net) -> None:
    net.bn.running_var[1] = torch.inf  # type: ignore[index,operator]
    torch.save(net.state_dict(), tmp_path / "w")
    refused(tmp_path / "w", "bn.running_var holds 1 values that are NaN or infinite")


OBJECTS: dict[str, tuple[Callable[[Net], Any], tuple[str, ...]]] = {
    "a network": (lambda net: net, ("a whole network", "Net")),
    "in a mapping": (lambda net: {"epoch": 3, "model": net}, ("model (a whole network", "Net", "epoch (int)")),
    "wrapped": (lambda net: {"model": nn.DataParallel(net)}, ("a whole network", "DataParallel")),
    "an object": (lambda net: Settings(), ("Settings",)),
    "numbers": (lambda net: {"accuracy": 0.5, "epoch": 3}, ("no state dict", "accuracy (float)", "epoch (int)")),
    "arrays": (lambda net: {"conv.weight": net.conv.weight.detach().numpy()}, ("conv.weight",)),
    "nothing": (lambda net: {}, ("no state dict", "nothing")),
    "a tensor": (lambda net: torch.ones(3), ("no state dict", "Tensor")),
}


@pytest.mark.parametrize("form", OBJECTS)
def test_what_are_no_weights_says_what_was_found_and_how_to_save_them(form: str, tmp_path: Path, net: Net) -> None:
    make, words = OBJECTS[form]
    torch.save(make(net), tmp_path / "w")
    refused(tmp_path / "w", *words, "torch.save(model.state_dict()")


def test_torchscript_and_exported_programs(tmp_path: Path, net: Net) -> None:
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 6, 6)), str(tmp_path / "script"))
    refused(tmp_path / "script", "TorchScript", "model.state_dict()")
    np.savez(tmp_path / "w.npz", **{key: value.numpy() for key, value in net.state_dict().items()})
    refused(tmp_path / "w.npz", "archive", "model.state_dict()")


BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s9--0.pt\n", "git annex get"),
    "html": (b"\n<!DOCTYPE html><html><head><title>Sign in</title>", "web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "web page"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "gzip"),
    "keras": (b"\x89HDF\r\n\x1a\n\x00\x00", "HDF5"),
    "text": (b'{"message": "Not Found"}', "cannot be read"),
    "zeros": (b"\x00" * 100, "cannot be read"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_files_that_are_something_else(kind: str, tmp_path: Path) -> None:
    content, words = BYTES[kind]
    (tmp_path / "w").write_bytes(content)
    refused(tmp_path / "w", words)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_files_that_are_cut_off(form: str, share: float, tmp_path: Path, net: Net) -> None:
    if form == "safetensors":
        save_file(net.state_dict(), tmp_path / "w")
    else:
        torch.save(net.state_dict(), tmp_path / "w", _use_new_zipfile_serialization=form == "zip")
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "w")


def test_a_folder_a_missing_file_and_a_damaged_archive(tmp_path: Path, net: Net) -> None:
    refused(tmp_path, "folder")
    refused(tmp_path / "missing", "No such file")
    torch.save(net.state_dict(), tmp_path / "w")
    with zipfile.ZipFile(tmp_path / "w") as source, zipfile.ZipFile(tmp_path / "other", "w") as target:
        for name in source.namelist():
            if not name.endswith("/data/1"):
                target.writestr(name, source.read(name))
    refused(tmp_path / "other", "cannot be read")


class Canary:
    """Its unpickling would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def test_nothing_in_a_file_runs_while_the_weights_beside_it_load(tmp_path: Path, net: Net) -> None:
    torch.save({"net": net.state_dict(), "hook": Canary(tmp_path / "fired")}, tmp_path / "w")
    same(tmp_path / "w", net)
    assert not (tmp_path / "fired").exists()


def test_keys_that_do_not_fit_are_named_under_any_wrapping(tmp_path: Path, net: Net) -> None:
    state = prefixed({k: v for k, v in net.state_dict().items() if k != "fc.bias"}, "module.")
    torch.save({"net": state}, tmp_path / "w")
    refused(tmp_path / "w", "are not of this network: 1 missing keys (fc.bias)")
    torch.save({"net": {**net.state_dict(), "extra.weight": torch.ones(1)}}, tmp_path / "w")
    refused(tmp_path / "w", "are not of this network: 1 unexpected keys (extra.weight)")
    torch.save({"net": {**net.state_dict(), "fc.bias": torch.ones(7)}, "optimizer": momentum(net)}, tmp_path / "w")
    refused(tmp_path / "w", "keys of another shape (fc.bias (7,) not (5,))")

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models
from prunebench.envs.weights.checkpoint import load_weights


@pytest.fixture
def network() -> torch.nn.Module:
    return models.build("resnet20", 10)


@pytest.mark.parametrize("form", ["plain", "state_dict", "model", "prefixed"])
def test_the_usual_forms_load(form: str, tmp_path: Path, network: torch.nn.Module) -> None:
    state = network.state_dict()
    if form == "prefixed":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save(
        state if form == "plain" else {form if form in ("state_dict", "model") else "state_dict": state}, tmp_path / "w"
    )
    other = models.build("resnet20", 10)
    load_weights(other, tmp_path / "w")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in other.state_dict().items())


def test_old_checkpoints_without_batch_counters_load(tmp_path: Path, network: torch.nn.Module) -> None:
    state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "w")
    load_weights(models.build("resnet20", 10), tmp_path / "w")


def test_weights_of_another_network_say_which_keys(tmp_path: Path) -> None:
    torch.save(models.build("resnet56", 10).state_dict(), tmp_path / "w")
    with pytest.raises(TaskError, match=r"unexpected keys \(layer1\.3\.bn1\.bias, .*\.\.\.\)$") as caught:
        load_weights(models.build("resnet20", 10), tmp_path / "w")
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_says_which_shape(tmp_path: Path, network: torch.nn.Module) -> None:
    torch.save(network.state_dict(), tmp_path / "w")
    with pytest.raises(TaskError, match=r"linear\.bias \(10,\) not \(7,\)"):
        load_weights(models.build("resnet20", 7), tmp_path / "w")


class Canary:
    """Its unpickling would create a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_malicious_checkpoint_is_refused_and_not_executed(
    writer: str, tmp_path: Path, network: torch.nn.Module
) -> None:
    canary = tmp_path / "fired"
    content = {"state_dict": Canary(str(canary))}
    if writer == "torch":
        torch.save(content, tmp_path / "w")
    else:
        (tmp_path / "w").write_bytes(pickle.dumps(content))
    with pytest.raises(TaskError, match="cannot be read"):
        load_weights(network, tmp_path / "w")
    assert not canary.exists()


def test_no_state_dict_and_no_checkpoint(tmp_path: Path, network: torch.nn.Module) -> None:
    torch.save([1, 2], tmp_path / "list")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(TaskError, match="hold no state dict"):
        load_weights(network, tmp_path / "list")
    with pytest.raises(TaskError, match="cannot be read"):
        load_weights(network, tmp_path / "text")


def test_the_old_names_of_densenet_files_load(tmp_path: Path) -> None:
    source, network = (models.build("torchvision:densenet121", 5) for _ in range(2))
    old = source.state_dict()
    for key in list(old):
        if "denselayer" in key:
            for name in ("norm1", "norm2", "conv1", "conv2"):
                if f".{name}." in key:
                    old[key.replace(name, f"{name[:-1]}.{name[-1]}")] = old.pop(key)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "w")
    load_weights(network, tmp_path / "w")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize("plain", [True, False])
def test_networks_that_ask_for_the_version_of_a_file_load(plain: bool, tmp_path: Path) -> None:
    state = models.build("torchvision:mnasnet0_5", 5).state_dict()
    torch.save(dict(state) if plain else state, tmp_path / "w")
    network = models.build("torchvision:mnasnet0_5", 5)
    load_weights(network, tmp_path / "w")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in state.items())


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 3)


def test_a_part_called_module_keeps_its_name(tmp_path: Path) -> None:
    source, network = Wrapped(), Wrapped()
    torch.save(source.state_dict(), tmp_path / "w")
    load_weights(network, tmp_path / "w")
    assert torch.equal(network.module.weight, source.module.weight)

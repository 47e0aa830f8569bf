"""Exactness against plain surgery: torch-pruning removes the channels of a copy, batch norm stays separate."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
import torch_pruning as tp
from randomnets import random_network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from envs.evaluator import Evaluator
from envs.network import PrunableNetwork, Unit
from envs.reconstruction import RIDGE, gram_matrices, reconstructed_units, sampled_inputs

NETWORKS = {"resnet20": 9, "resnet56": 27, "mobilenetv2": 18}
SIZE = 16
SEED = 3
CALIBRATION = torch.randn(60, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(8)


@cache
def evaluator(name: str) -> Evaluator:
    network = PrunableNetwork(random_network(name), IMAGES[:1])
    grams = gram_matrices(network, CALIBRATION.split(20), SEED)
    return Evaluator(network, grams, (IMAGES, LABELS), lambda: (IMAGES, LABELS), batch_size=3)


@cache
def features(name: str) -> dict[str, torch.Tensor]:
    """Sampled inputs of every refitted layer, collected here anew with the same sampled positions."""
    model = random_network(name)
    generator = torch.Generator().manual_seed(SEED)
    rows: dict[str, list[torch.Tensor]] = {}
    modules = dict(model.named_modules())
    for unit in reconstructed_units(evaluator(name).network):
        modules[unit.name].register_forward_pre_hook(
            lambda module, args, key=unit.name: rows.setdefault(key, []).append(
                sampled_inputs(module, args[0], generator).double()
            )
        )
    with torch.inference_mode():
        for batch in CALIBRATION.split(20):
            model(batch)
    return {key: torch.cat(parts) for key, parts in rows.items()}


def random_counts(name: str, seed: int) -> tuple[int, ...]:
    rng = np.random.default_rng(seed)
    return tuple(int(max(1, c * r)) for c, r in ((c, rng.uniform(0.05, 1)) for c in evaluator(name).dense))


def kept_channels(model: nn.Module, consumer: str, count: int) -> list[int]:
    """The papers' criterion, from its definition."""
    weight = dict(model.named_modules())[consumer].weight.detach().double()
    scores = weight.abs().sum(dim=[d for d in range(weight.dim()) if d != 1])
    return sorted(sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:count])


def direct_least_squares(name: str, unit: Unit, kept: list[int]) -> torch.Tensor:
    x = features(name)[unit.name]
    dense = unit.module.weight.detach().double()
    y = x @ dense.flatten(1).T
    area = dense[0, 0].numel()
    columns = torch.tensor([c * area + i for c in kept for i in range(area)])
    ridge = RIDGE * float((x**2).sum(0).mean())
    rows = torch.cat([x[:, columns], ridge**0.5 * torch.eye(len(columns), dtype=torch.float64)])
    targets = torch.cat([y, torch.zeros(len(columns), y.shape[1], dtype=torch.float64)])
    solution = torch.linalg.lstsq(rows, targets, driver="gelsd").solution
    return solution.T.reshape(len(dense), len(kept), *dense.shape[2:])


def surgery(name: str, counts: tuple[int, ...]) -> nn.Module:
    """The small network by torch-pruning's own surgery, refitted by direct least squares, nothing folded."""
    model, network = random_network(name), evaluator(name).network
    choices = [
        kept_channels(model, layer.consumers[0].name, n) for layer, n in zip(network.layers, counts, strict=True)
    ]
    small = copy.deepcopy(model)
    graph = tp.DependencyGraph().build_dependency(small, IMAGES[:1])
    modules = dict(small.named_modules())
    for layer, kept in zip(network.layers, choices, strict=True):
        removed = sorted(set(range(layer.channels)) - set(kept))
        if removed:
            graph.get_pruning_group(modules[layer.name], tp.prune_conv_out_channels, removed).prune()
    with torch.no_grad():
        for layer, kept in zip(network.layers, choices, strict=True):
            (unit,) = layer.consumers
            if len(kept) < layer.channels:
                modules[unit.name].weight.copy_(direct_least_squares(name, unit, kept))
    return small.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_prunable_layers_are_the_papers(name: str) -> None:
    network = evaluator(name).network
    assert len(network.layers) == NETWORKS[name]
    if name == "mobilenetv2":
        assert network.channels[:4] == [32, 96, 144, 144]
        assert network.channels[-1] == 1280
    else:
        assert [layer.name for layer in network.layers][:2] == ["layer1.0.conv1", "layer1.1.conv1"]
        assert all(layer.consumers[0].name.endswith("conv2") for layer in network.layers)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_small_network_equals_plain_surgery(name: str, seed: int) -> None:
    counts = random_counts(name, seed)
    reference = surgery(name, counts)
    with torch.inference_mode():
        ours, theirs = evaluator(name).build(counts)(IMAGES), reference(IMAGES)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_dense_policy_is_the_dense_network(name: str) -> None:
    with torch.inference_mode():
        ours, theirs = evaluator(name).build(evaluator(name).dense)(IMAGES), random_network(name)(IMAGES)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_closed_form_costs_equal_a_count(name: str, seed: int) -> None:
    counts = random_counts(name, seed)
    small = surgery(name, counts)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        small(IMAGES[:1])
    assert evaluator(name).costs["macs"](counts) == counter.get_total_flops() / 2
    assert evaluator(name).costs["parameters"](counts) == sum(p.numel() for p in small.parameters())


def test_resnet56_costs_what_the_literature_says() -> None:
    network = PrunableNetwork(random_network("resnet56"), torch.zeros(1, 3, 32, 32))
    assert network.costs()["macs"](network.channels) == 125_485_696


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_counts_score_the_same_from_a_warm_and_a_cold_cache(name: str) -> None:
    first, second = random_counts(name, 7), random_counts(name, 8)
    warm = evaluator(name)
    scores = [warm.score(first), warm.score(second), warm.score(first)]
    network = PrunableNetwork(random_network(name), IMAGES[:1])
    grams = gram_matrices(network, CALIBRATION.split(20), SEED)
    cold = Evaluator(network, grams, (IMAGES, LABELS), lambda: (IMAGES, LABELS), batch_size=3)
    assert scores[0] == scores[2] == cold.score(first)


def test_a_small_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.evaluator._CACHE_BYTES", 2000)
    network = PrunableNetwork(random_network("resnet20"), IMAGES[:1])
    grams = gram_matrices(network, CALIBRATION.split(20), SEED)
    tiny = Evaluator(network, grams, (IMAGES, LABELS), lambda: (IMAGES, LABELS), batch_size=3)
    counts = random_counts("resnet20", 5)
    assert tiny.score(counts) == evaluator("resnet20").score(counts)


class Grouped(nn.Module):
    """A group convolution inside a block: channels cannot be removed one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 8, 3, groups=2)
        self.head = nn.Conv2d(8, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x))))).mean((2, 3))


def test_what_cannot_be_pruned_correctly_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"second.*cannot be pruned"):
        PrunableNetwork(Grouped(), IMAGES[:1])


def test_a_network_without_prunable_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no channels inside a block"):
        PrunableNetwork(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 10)), IMAGES[:1])

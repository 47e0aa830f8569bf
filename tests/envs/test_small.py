"""Costs against PyTorch's own count, and the small network against torch-pruning's own surgery."""

from __future__ import annotations

import copy

import numpy as np
import oddnets
import pytest
import reference
import torch
import torch_pruning as tp
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prunebench.envs.choices import SCOPES
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork
from prunebench.envs.pruning.verification import sliced

TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "densenet121",
    "regnet_y_400mf", "googlenet", "squeezenet1_1", "convnext_tiny", "vgg16_bn",
)  # fmt: skip
TABLE = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "mobilenetv1", "mobilenetv2", "vgg16")
HUGE = "torchvision:vgg16_bn"
LARGE = {"resnet110", *(f"torchvision:{name}" for name in TORCHVISION)}
NETWORKS = (*TABLE, *(f"torchvision:{name}" for name in TORCHVISION), *oddnets.PRUNABLE)
CASES = [
    pytest.param(name, scope, marks=pytest.mark.slow if (name in LARGE and scope == "inner") or name == HUGE else ())
    for name in NETWORKS
    for scope in SCOPES
]


def counted(model: nn.Module, images: torch.Tensor) -> tuple[float, int]:
    """MACs per image as PyTorch counts them, attention in its plain form; and parameters, equal ones once."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        torch.backends.mha.set_fastpath_enabled(False)
        model(images)
        torch.backends.mha.set_fastpath_enabled(True)
    weights = {p.detach().numpy().tobytes(): p.numel() for p in model.parameters() if p.dim() > 1}
    rest = sum(p.numel() for p in model.parameters() if p.dim() < 2)
    return counter.get_total_flops() / 2 / len(images), sum(weights.values()) + rest


def smaller(network: PrunableNetwork, counts: tuple[int, ...]) -> nn.Module:
    ranks = [np.random.default_rng(0).permutation(channels) for channels in network.channels]
    small = SmallNetwork(network, folded=False)
    return small.fill(lambda unit: sliced(unit, counts, ranks), lambda dimension: dimension.kept(counts, ranks))


@pytest.mark.parametrize(("name", "scope"), CASES)
def test_closed_form_costs_equal_a_count(name: str, scope: str) -> None:
    network = reference.network(name, scope)
    for counts in (tuple(network.channels), *(reference.random_counts(network, seed) for seed in range(2))):
        macs, parameters = counted(smaller(network, counts), network.example)
        assert (cost_formulas.macs(network)(counts), cost_formulas.parameters(network)(counts)) == (macs, parameters)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        *((name, "inner") for name in ("resnet20", "mobilenetv2", "mobilenetv1", "vgg16")),
        *((f"torchvision:{name}", "inner") for name in ("densenet121", "googlenet", "mobilenet_v3_large")),
        ("mobilenetv2", "all"),
        ("torchvision:resnet18", "inner"),
        ("torchvision:resnet18", "all"),
    ],
)
def test_torch_prunings_own_surgery_gives_the_same_network(name: str, scope: str) -> None:
    found = reference.evaluator(name, scope, "consumer-l1", "none")
    counts = reference.random_counts(found.network, 4)
    images = reference.noise(name, reference.IMAGES, 2)
    theirs = copy.deepcopy(reference.dense(name)).requires_grad_(True)
    graph = tp.DependencyGraph().build_dependency(theirs, images[:1])
    modules = dict(theirs.named_modules())
    for layer, rank, count in zip(found.network.layers, found._ranks, counts, strict=True):
        removed = np.flatnonzero(rank >= count).tolist()
        producer = modules[layer.name]
        if removed:
            conv = isinstance(producer, nn.Conv2d)
            cut = tp.prune_conv_out_channels if conv else tp.prune_linear_out_channels
            graph.get_pruning_group(producer, cut, removed).prune()
    assert (found.costs["macs"](counts), found.costs["parameters"](counts)) == counted(theirs.eval(), images)
    with torch.no_grad():
        assert reference.difference(found.build(counts)(images), theirs(images)) <= 1e-4


@pytest.mark.parametrize("scope", SCOPES)
def test_batch_norm_without_weights_is_folded_and_sliced(scope: str) -> None:
    model = oddnets.headed([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU()], 8, 10).eval()
    with torch.no_grad():
        for statistics in (model[1].running_mean, model[1].running_var):
            statistics.uniform_(0.5, 1.5)
    images = reference.noise("small", 4, 0)
    network = PrunableNetwork(model, images[:1], scope)
    ranks = [np.arange(8)]
    slices = smaller(network, (8,))
    torch.testing.assert_close(slices(images), model(images))
    (unit, _) = network.units
    scale, shift = unit.fold()
    with torch.no_grad():
        bare = nn.functional.conv2d(images, unit.module.weight)
        torch.testing.assert_close(bare * scale[:, None, None] + shift[:, None, None], model[:2](images))
    assert len(network.units[1].inputs.kept((3,), ranks)) == 3
    assert cost_formulas.parameters(network)((3,)) == counted(smaller(network, (3,)), images)[1]


def test_the_dense_network_is_left_as_it_was() -> None:
    network = reference.network("resnet20", "all")
    before = copy.deepcopy(network.model.state_dict())
    counts = reference.random_counts(network, 0)
    smaller(network, counts)(network.example)
    found = reference.evaluator("resnet20", "all", "taylor", "both")
    found.score(counts)
    after = network.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(not isinstance(module, nn.Identity) for module in network.model.modules())

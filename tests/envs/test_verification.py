"""The check before anything is built on a network: what the tracing did not see is found by running it."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import oddnets
import pytest
import reference
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunebench.envs.choices import SCOPES
from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.verification import enliven, unread, verify

IMAGES = reference.noise("small", 2, 0)


def problem(network: PrunableNetwork) -> str:
    with pytest.raises(TaskError) as refused:
        verify(network)
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        *product(("resnet20", "mobilenetv2", *oddnets.PRUNABLE), SCOPES),
        *((name, "inner") for name in ("torchvision:mobilenet_v3_large", "mobilenetv1")),
        *((f"torchvision:{name}", "all") for name in ("regnet_y_400mf", "googlenet", "squeezenet1_1")),
    ],
)
def test_networks_that_are_traced_rightly_pass(name: str, scope: str) -> None:
    verify(reference.network(name, scope))


def test_a_padded_shortcut_of_a_users_own_is_no_harm_inside_blocks() -> None:
    verify(reference.network("oddnets:padded", "inner"))


def test_a_convolution_that_is_no_module_costs_what_it_costs() -> None:
    network = reference.network("oddnets:functional", "inner")
    verify(network)
    assert network.other_macs == 3 * 8 * 16 * 16


def test_work_that_pruning_changes_and_the_closed_form_does_not_know_is_found() -> None:
    torch.manual_seed(0)
    model = oddnets.headed([oddnets.block(3, 8), oddnets.Gram(), oddnets.block(8, 6)], 6, 10).eval()
    line = problem(PrunableNetwork(model, IMAGES[:1], "all"))
    assert "the closed form gives" in line
    assert "PyTorch counts" in line


@pytest.mark.parametrize("scope", SCOPES)
def test_channels_taken_for_others_are_found_and_named(scope: str) -> None:
    """The tracing overlooks the image in a concatenation, and takes its channels for those of the layer beside it."""
    line = problem(reference.network("oddnets:after_image", scope))
    assert line.startswith("layer 0.branches.1.0: its channels cannot be removed: ")
    assert f"scope '{scope}'; --exclude 0.branches.1.0 " in line


class Reversed(nn.Module):
    """Turns the channels round, which the tracing takes for something that is done to each of them."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class FixedWidth(nn.Module):
    """Expects eight channels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2).view(len(x), 8, -1).mean(2)[:, :, None, None]


@pytest.mark.parametrize(
    ("peculiar", "expected"),
    [(Reversed(), "the smaller network's outputs differ"), (FixedWidth(), "the smaller network does not run")],
)
def test_an_operation_that_depends_on_the_other_channels_is_found(peculiar: nn.Module, expected: str) -> None:
    torch.manual_seed(0)
    model = oddnets.headed([oddnets.block(3, 8), peculiar, oddnets.block(8, 6)], 6, 10).eval()
    line = problem(PrunableNetwork(model, IMAGES[:1]))
    assert line.startswith(f"layer 0.0: its channels cannot be removed: {expected}")


def test_a_fault_behind_weights_of_zero_is_found_once_they_count() -> None:
    torch.manual_seed(0)
    branch = nn.Sequential(oddnets.block(8, 6), Reversed(), nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8))
    nn.init.zeros_(branch[3].weight)
    model = oddnets.headed([oddnets.block(3, 8), oddnets.Branches(oddnets.add, nn.Identity(), branch)], 8, 10).eval()
    verify(PrunableNetwork(model, IMAGES[:1]))  # sees nothing yet
    enliven(model, IMAGES[:1])
    assert problem(PrunableNetwork(model, IMAGES[:1])).startswith("layer 1.branches.1.0.0: ")


def test_a_wrong_owner_of_one_channel_is_found() -> None:
    network = PrunableNetwork(reference.dense("resnet20"), IMAGES[:1])
    inputs = network.layers[3].main_consumer.inputs
    swapped = dataclasses.replace(inputs, channel=np.roll(inputs.channel, 1))
    network.layers[3].main_consumer.inputs = swapped
    assert problem(network).startswith(f"layer {network.layers[3].name}: ")


def test_a_network_is_left_as_it_was() -> None:
    network = reference.network("resnet20", "all")
    with torch.no_grad():
        before = network.model(IMAGES)
        with unread(network, network.model, [1] * len(network.channels), [np.arange(c) for c in network.channels]):
            assert not torch.equal(network.model(IMAGES), before)
        verify(network)
        assert torch.equal(network.model(IMAGES), before)

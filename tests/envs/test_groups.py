"""Which channels go together: grouped convolutions, gates, concatenations, flattening; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import oddnets
import pytest
import reference
import torch
from torch import nn

from prunebench.envs.choices import SCOPES
from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork
from prunebench.envs.pruning.verification import sliced

IMAGES = reference.noise("small", 2, 0)


def layers(function: str, scope: str) -> list[tuple[str, int]]:
    return [(layer.name, layer.channels) for layer in reference.network(f"oddnets:{function}", scope).layers]


def smaller(function: str, scope: str, counts: Sequence[int]) -> nn.Module:
    network = reference.network(f"oddnets:{function}", scope)
    ranks = [np.arange(channels) for channels in network.channels]
    small = SmallNetwork(network, folded=False)
    return small.fill(lambda unit: sliced(unit, counts, ranks), lambda dimension: dimension.kept(counts, ranks))


def refusal(model: nn.Module, scope: str = "inner") -> str:
    with pytest.raises(TaskError) as refused:
        PrunableNetwork(model.eval(), IMAGES[:1], scope)
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("function", "scope", "expected"),
    [
        ("grouped", "inner", [("0.0", 4)]),
        ("chained", "inner", [("0.0", 2)]),  # of four groups and of two
        ("multiplier", "inner", [("0.0", 6)]),
        ("grouped_after_addition", "inner", [("1.branches.1.0.0", 6)]),
        ("grouped_after_addition", "all", [("0.0", 2), ("1.branches.1.0.0", 6)]),
        ("gated", "inner", [("0.0", 8), ("1.branches.1.1", 4), ("2.0", 6)]),
        ("flattened", "inner", [("0.0", 8), ("3", 12)]),
        ("preactivated", "inner", [("1.branches.1.0.2", 6), ("2.branches.1.0.2", 6)]),
        ("preactivated", "all", [("0", 8), ("1.branches.1.0.2", 6), ("2.branches.1.0.2", 6)]),
    ],
)
def test_what_is_removed_together(function: str, scope: str, expected: list[tuple[str, int]]) -> None:
    assert layers(function, scope) == expected


def test_a_grouped_convolution_loses_whole_groups() -> None:
    model = smaller("grouped", "inner", [3])
    conv = model[1][0]
    assert (conv.in_channels, conv.out_channels, conv.groups) == (6, 9, 3)
    dense = reference.dense("oddnets:grouped")[1][0]
    assert torch.equal(conv.weight, dense.weight[:9])
    assert model[4].in_features == 9


def test_a_depthwise_convolution_with_a_multiplier_keeps_it() -> None:
    conv = smaller("multiplier", "inner", [2])[1][0]
    assert (conv.in_channels, conv.out_channels, conv.groups) == (2, 4, 2)


def test_one_group_left_is_a_plain_convolution() -> None:
    conv = smaller("grouped", "inner", [1])[1][0]
    assert (conv.in_channels, conv.out_channels, conv.groups) == (2, 3, 1)


def test_a_gate_is_sliced_with_what_it_scales() -> None:
    squeeze, unit = smaller("gated", "inner", [5, 3, 6])[1].branches[1], smaller("gated", "inner", [5, 3, 6])[2][0]
    assert (squeeze[1].in_channels, squeeze[1].out_channels) == (5, 3)
    assert (squeeze[3].in_channels, squeeze[3].out_channels) == (3, 5)
    assert unit.in_channels == 5


def test_a_reader_of_a_concatenation_loses_every_branchs_own_channels() -> None:
    network = reference.network("oddnets:concatenated", "inner")
    (reader,) = (unit for unit in network.units if unit.name == "3.0")
    beside, after = (layer.index for layer in network.layers if layer.name.startswith("2."))
    assert reader.inputs.owner.tolist() == [beside] * 5 + [-1] * 8 + [after] * 7
    assert reader.inputs.channel[reader.inputs.owner >= 0].tolist() == [*range(5), *range(7)]


def test_a_linear_layer_loses_every_position_of_a_flattened_channel() -> None:
    network = reference.network("oddnets:flattened", "inner")
    (reader,) = (unit for unit in network.units if unit.name == "3")
    assert reader.inputs.channel.tolist() == np.repeat(np.arange(8), 4).tolist()
    kept = reader.inputs.kept([2, 12], [np.array([7, 0, 6, 5, 4, 3, 1, 2]), np.arange(12)])
    assert kept.tolist() == [4, 5, 6, 7, 24, 25, 26, 27]


def test_batch_norm_after_a_linear_layer_belongs_to_it() -> None:
    (unit,) = (unit for unit in reference.network("oddnets:flattened", "inner").units if unit.name == "3")
    assert isinstance(unit.norm, nn.BatchNorm1d)
    assert smaller("flattened", "inner", [8, 5])[4].num_features == 5


def test_a_batch_norm_that_follows_no_layer_stands_on_its_own() -> None:
    network = reference.network("oddnets:preactivated", "all")
    assert [norm.name for norm in network.norms] == ["1.branches.1.0.0", "2.branches.1.0.0", "3"]
    assert smaller("preactivated", "all", [3, 6, 6])[3].num_features == 3


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (oddnets.uneven, "layer 1.branches.1.0: its channels do not go with groups of channels elsewhere"),
        (oddnets.twice, "layer 1.0: it is called more than once in a forward pass"),
        (oddnets.normalised, r"layer 1: GroupNorm\(.*\): it normalises over the channels, so that each depends on all"),
        (oddnets.scaled, r"parameter 1.factor of shape \(1, 8, 1, 1\) scales or shifts channels by itself"),
        (oddnets.with_image, r"layer 0.branches.0.1: it has 5 channels, but the tracing ties its channel \d+ to .*"),
        (oddnets.tied, r"layer [24]: it shares a parameter with another layer"),
        (oddnets.standardised, "layer 1.0: Standardised is more than its weights times its input"),
        (oddnets.shuffled, r"layer 3.0: it has 2 channels, but .* between \(PixelShuffleBackward0 may be why\) .*"),
        (oddnets.halved, r"layer 3.0: it has 4 channels, but .* between \(GluBackward0 may be why\) is not understood"),
    ],
)
def test_what_cannot_be_sliced_is_left_out_by_name(
    function: Callable[[int], nn.Module], message: str, scope: str
) -> None:
    torch.manual_seed(0)
    try:
        reasons = PrunableNetwork(function(10).eval(), IMAGES[:1], scope).left_out.values()
    except TaskError as error:  # nothing else could be pruned
        reasons = re.split(r"; [^ ]+: ", str(error))
    assert any(re.fullmatch(message, reason) for reason in reasons), list(reasons)


def test_an_unknown_padding_is_no_harm_inside_blocks_and_refused_where_it_ties_channels() -> None:
    assert layers("padded", "inner") == [("1.branches.1.0.0", 12), ("3.0", 6)]
    left_out = reference.network("oddnets:padded", "all").left_out
    assert list(left_out) == ["0.0"]
    assert "layer 0.1: it has 8 channels, but the tracing ties its channel 15" in left_out["0.0"]


def test_batch_norm_without_running_statistics_is_refused() -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    line = refusal(oddnets.headed([nn.Conv2d(3, 8, 3), norm, nn.ReLU()], 8, 10))
    assert line == "layer 1: a batch norm without running statistics depends on the whole batch"


def test_a_network_without_prunable_layers_is_refused() -> None:
    assert "no channels inside a block that could be pruned" in refusal(
        nn.Sequential(nn.Flatten(), nn.Linear(IMAGES[0].numel(), 10))
    )


class Shared(nn.Module):
    """One batch norm after two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.second(self.norm(self.first(x)).relu())).relu()
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Shared(), "Shared: no channels .*; first: layer norm: it is called more than once in a forward pass"),
        (nn.Conv2d(5, 8, 1), r"Conv2d: does not run on an image of 16 x 16: RuntimeError: .*"),
        (nn.Conv2d(3, 8, 1), r"Conv2d: gives shape \(1, 8, 16, 16\), expected logits \(images, classes\)"),
    ],
)
def test_what_is_no_network_of_its_own_layers_is_refused(model: nn.Module, message: str) -> None:
    assert re.fullmatch(message, refusal(model))


def test_an_unknown_scope_is_refused_with_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"scope 'iner' is unknown: expected one of all, inner; did you mean 'inner'\?"):
        PrunableNetwork(oddnets.grouped(10).eval(), IMAGES[:1], "iner")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_network_that_cannot_be_traced_is_refused(scope: str) -> None:
    with pytest.raises(TaskError, match=r"^ShuffleNetV2: .*layer \S+") as refused:
        reference.network("torchvision:shufflenet_v2_x1_0", scope)
    assert "\n" not in str(refused.value)


def test_layer_norms_over_tied_channels_leave_them_out() -> None:
    network = reference.network("torchvision:convnext_tiny", "all")
    assert len(network.layers) == 18
    assert len(network.left_out) == 4
    assert all("it normalises over the channels" in reason for reason in network.left_out.values())


def test_what_the_user_excludes_stays_whole_and_is_named() -> None:
    model = reference.dense("resnet20")
    network = PrunableNetwork(model, IMAGES[:1], "inner", ("layer1.0.conv1",))
    assert "layer1.0.conv1" not in [layer.name for layer in network.layers]
    assert network.left_out == {"layer1.0.conv1": "excluded"}
    assert len(network.layers) == 8
    with pytest.raises(TaskError, match=r"exclude 'layer1.0.conv' is unknown: .*did you mean 'layer1.0.conv1'\?"):
        PrunableNetwork(model, IMAGES[:1], "inner", ("layer1.0.conv",))

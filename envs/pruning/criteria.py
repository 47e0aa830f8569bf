"""The criteria of importance; each takes a network, labelled batches and a seed, and returns a score per channel.

``l2``, ``bn-scale`` and ``taylor`` are torch-pruning's; its FPGM measures distances between squared weights, so that
one is computed here from its equation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.groups import ChannelGroup, Graph
from prunebench.envs.pruning.importance import Labelled, Scores
from prunebench.envs.pruning.layers import PrunableLayer
from prunebench.envs.pruning.network import PrunableNetwork

GroupScore = Callable[[Any], Tensor | None]
"""Scores one of torch-pruning's groups; None where it holds nothing to compute a score from."""


def consumer_l1(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """The papers' criterion: the sum of ``|W|`` over the outputs and the kernel of the consuming layer.

    AMC's public code; BOCR clusters on the same numbers. The sums of several consuming layers are added.
    """
    return [_read_weight(layer) for layer in network.layers]


def _read_weight(layer: PrunableLayer) -> Scores:
    scores = np.zeros(layer.channels)
    for unit in layer.consumers:
        absolute = unit.module.weight.detach().double().abs()
        per_input = absolute.transpose(0, 1).flatten(1).sum(1).cpu().numpy()
        mine = unit.inputs.owner == layer.index
        np.add.at(scores, unit.inputs.channel[mine], per_input[mine])
    return scores


def random_order(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """Numbers from a generator of this seed."""
    rng = np.random.default_rng(seed)
    return [rng.random(channels) for channels in network.channels]


def group_l2(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """Squared L2 norm over the whole group of coupled weights."""
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    return scored(network, "l2", GroupMagnitudeImportance(p=2, normalizer=None))


def bn_scale(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """``|gamma|`` of the batch norms."""
    from torch_pruning.pruner.importance import BNScaleImportance

    return scored(network, "bn-scale", BNScaleImportance(normalizer=None))


def taylor(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """First-order Taylor expansion of the loss on the batches."""
    from torch_pruning.pruner.importance import GroupTaylorImportance

    score = GroupTaylorImportance(normalizer=None, multivariable=True)
    return scored(network, "taylor", score, lambda graph: _backward(graph, batches))


def fpgm(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """Sum of the Euclidean distances to the other filters, over the layers that produce the channels."""
    return scored(network, "fpgm", _distances)


def scored(
    network: PrunableNetwork, criterion: str, score: GroupScore, begin: Callable[[Graph], None] = lambda graph: None
) -> list[Scores]:
    """The scores of every prunable layer, from those of the groups of torch-pruning that it is made of.

    Args:
        network: the dense network.
        criterion: its name, for the error.
        score: of one group.
        begin: does what must be done to the traced copy of the network first.

    Raises:
        TaskError: a layer has nothing that the criterion could be computed from.
    """
    graph, groups = network.trace()
    begin(graph)
    return [_group_scores(group, score, criterion) for group in groups]


def _group_scores(group: ChannelGroup, score: GroupScore, criterion: str) -> Scores:
    total = np.zeros(group.channels)
    for source, channel in group.sources:
        values = score(_without_grouped_inputs(source))
        if values is None:
            raise TaskError(f"importance {criterion!r}: layer {group.producers[0]} has nothing to compute it from")
        np.add.at(total, channel, values.detach().double().cpu().numpy())
    return total


def _without_grouped_inputs(group: Any) -> Any:
    """The group less the inputs of grouped convolutions, whose weights count at their outputs.

    torch-pruning scores these inputs across the convolution's groups, or fails where each group has one input.
    """
    from torch_pruning.dependency import Group
    from torch_pruning.pruner.function import prune_conv_in_channels

    rest = Group()
    for item in group.items:
        if item.dep.handler != prune_conv_in_channels or item.dep.target.module.groups == 1:
            rest.items.append(item)
    return rest


def _distances(group: Any) -> Tensor | None:
    from torch_pruning.pruner.function import prune_conv_out_channels, prune_linear_out_channels

    total = None
    for dep, idxs in group:
        if dep.handler in (prune_conv_out_channels, prune_linear_out_channels):
            filters = dep.target.module.weight.detach().double().flatten(1)
            distances = torch.cdist(filters, filters).sum(1)[[int(getattr(i, "idx", i)) for i in idxs]]
            total = distances if total is None else total + distances
    return total


def _backward(graph: Graph, batches: Labelled) -> None:
    """Accumulate the gradient of the mean cross-entropy on the traced copy."""
    graph.model.zero_grad()
    with torch.enable_grad():
        for pixels, labels in batches:
            loss = nn.functional.cross_entropy(graph.model(pixels.clone()), labels, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]

"""Which channels of a prunable layer are kept first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.choices import CRITERIA
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.pruning.groups import ChannelGroup, Graph
from prunebench.envs.pruning.layers import PrunableLayer
from prunebench.envs.pruning.network import PrunableNetwork

Scores = NDArray[np.float64]
Labelled = Iterable[tuple[Tensor, Tensor]]


def channel_scores(network: PrunableNetwork, criterion: str, batches: Labelled, seed: int) -> list[Scores]:
    """Importance of every prunable layer's channels, ``(channels,)`` each.

    ``l2``, ``bn-scale`` and ``taylor`` are torch-pruning's; its FPGM measures distances between squared weights, so
    that one is computed here from its equation.

    Args:
        network: the dense network.
        criterion: a name in :data:`prunebench.envs.choices.CRITERIA`.
        batches: normalised calibration images and labels; only ``taylor`` looks at them.
        seed: of ``random``.

    Raises:
        TaskError: the criterion is unknown, or a layer has nothing that it could be computed from.
    """
    check_choice("importance", criterion, CRITERIA)
    if criterion == "consumer-l1":
        return [consumer_l1(layer) for layer in network.layers]
    if criterion == "random":
        rng = np.random.default_rng(seed)
        return [rng.random(channels) for channels in network.channels]
    graph, groups = network.trace()
    if criterion == "taylor":
        _backward(graph, batches)
    score = {"fpgm": _fpgm, "taylor": _taylor(), "l2": _group_l2(), "bn-scale": _bn_scale()}[criterion]
    return [_group_scores(group, score, criterion) for group in groups]


def consumer_l1(layer: PrunableLayer) -> Scores:
    """The papers' criterion: the sum of ``|W|`` over the outputs and the kernel of the consuming layer.

    AMC's public code; BOCR clusters on the same numbers. The sums of several consuming layers are added.
    """
    scores = np.zeros(layer.channels)
    for unit in layer.consumers:
        absolute = unit.module.weight.detach().double().abs()
        per_input = absolute.transpose(0, 1).flatten(1).sum(1).cpu().numpy()
        mine = unit.inputs.owner == layer.index
        np.add.at(scores, unit.inputs.channel[mine], per_input[mine])
    return scores


def ranks(scores: Scores) -> NDArray[np.int64]:
    """``(channels,)``: 0 for the most important channel; equal ones keep the network's order."""
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _group_scores(group: ChannelGroup, score: Callable[[Any], Tensor | None], criterion: str) -> Scores:
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


def _group_l2() -> Callable[[Any], Tensor | None]:
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    return GroupMagnitudeImportance(p=2, normalizer=None)


def _bn_scale() -> Callable[[Any], Tensor | None]:
    from torch_pruning.pruner.importance import BNScaleImportance

    return BNScaleImportance(normalizer=None)


def _taylor() -> Callable[[Any], Tensor | None]:
    from torch_pruning.pruner.importance import GroupTaylorImportance

    return GroupTaylorImportance(normalizer=None, multivariable=True)


def _fpgm(group: Any) -> Tensor | None:
    """Sum of the Euclidean distances to the other filters, over the layers that produce the channels."""
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

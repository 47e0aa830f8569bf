"""The importance of channels: a criterion takes a network, labelled batches and a seed; it scores every channel.

They are computed from their equations. torch-pruning's own leave out depthwise convolutions, and batch norms where a
gradient is asked for; its FPGM measures distances between squared weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pkgutil import resolve_name

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.choices import CRITERIA
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.pruning.groups import ChannelGroup, Graph
from prunebench.envs.pruning.layers import BatchNorm, PrunableLayer
from prunebench.envs.pruning.network import PrunableNetwork

Scores = NDArray[np.float64]
Labelled = Iterable[tuple[Tensor, Tensor]]
"""Normalised images and labels, batch by batch."""


def channel_scores(network: PrunableNetwork, criterion: str, batches: Labelled, seed: int) -> list[Scores]:
    """Importance of every prunable layer's channels, ``(channels,)`` each.

    Args:
        network: the dense network.
        criterion: a name in :data:`prunebench.envs.choices.CRITERIA`.
        batches: normalised calibration images and labels, for criteria that look at them.
        seed: of criteria that draw.

    Raises:
        TaskError: the criterion is unknown, or a layer has nothing that it could be computed from.
    """
    check_choice("importance", criterion, CRITERIA)
    return resolve_name(CRITERIA[criterion].function)(network, batches, seed)


def ranks(scores: Scores) -> NDArray[np.int64]:
    """``(channels,)``: 0 for the most important channel; equal ones keep the network's order."""
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


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
    """Squared L2 norm of a member's weights, its mean over the members of the group (DepGraph, Fang et al. 2023)."""
    return scored(network, "l2", lambda side: _per_position(side.weight**2, side))


def bn_scale(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """``|gamma|`` of the batch norms (network slimming, Liu et al. 2017)."""
    return scored(network, "bn-scale", lambda side: side.weight.abs() if isinstance(side.module, BatchNorm) else None)


def taylor(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """``|sum W dL/dW|`` of a member, its mean over the members of the group (Molchanov et al. 2019, eq. 7).

    A batch norm counts with its scale and shift: what its channel adds to the loss.
    """
    return scored(network, "taylor", _taylor, lambda graph: _backward(graph, batches))


def fpgm(network: PrunableNetwork, batches: Labelled, seed: int) -> list[Scores]:
    """Euclidean distances to the other filters, summed; the mean over the layers that produce the channels.

    Geometric median, He et al. 2019, eq. 6.
    """
    return scored(network, "fpgm", _distances)


@dataclass(frozen=True)
class Side:
    """One side of a module of a channel group, as criteria see it.

    Attributes:
        module: on the traced copy, with its gradients.
        is_input: whether the positions are the module's inputs.
    """

    module: nn.Module
    is_input: bool

    @property
    def weight(self) -> Tensor:
        """The module's weight in float64."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight.detach().double()

    def gradient(self, name: str = "weight") -> Tensor:
        """The gradient of a parameter in float64."""
        parameter = getattr(self.module, name)
        assert parameter.grad is not None
        return parameter.grad.double()


SideScore = Callable[[Side], Tensor | None]
"""Scores every position of a side ``(positions,)``; None where it has nothing to compute a score from."""


def scored(
    network: PrunableNetwork, criterion: str, score: SideScore, begin: Callable[[Graph], None] = lambda graph: None
) -> list[Scores]:
    """The scores of every prunable layer: means over the members of its channel group, added up where it is several.

    The inputs of grouped convolutions do not count: their weights count at their outputs.

    Args:
        network: the dense network.
        criterion: its name, for the error.
        score: of one side of a member.
        begin: does what must be done to the traced copy of the network first.

    Raises:
        TaskError: a layer has nothing that the criterion could be computed from.
    """
    graph, groups = network.trace()
    begin(graph)
    return [_group_scores(graph, group, score, criterion) for group in groups]


def _group_scores(graph: Graph, group: ChannelGroup, score: SideScore, criterion: str) -> Scores:
    total = np.zeros(group.channels)
    modules = dict(graph.model.named_modules())
    for members, channel in group.sources:
        found = []
        for member in members:
            side = Side(modules[member.name], member.side == "in")
            values = score(side) if _has_weights(side) else None
            if values is not None:
                found.append(values.cpu().numpy()[member.positions].sum(1))
        if not found:
            raise TaskError(f"importance {criterion!r}: layer {group.producers[0]} has nothing to compute it from")
        np.add.at(total, channel, np.mean(found, axis=0))
    return total


def _has_weights(side: Side) -> bool:
    """Whether the side has weights that a criterion may look at, and that do not count on the other side."""
    at_outputs = side.is_input and isinstance(side.module, nn.Conv2d) and side.module.groups > 1
    weighted = isinstance(getattr(side.module, "weight", None), Tensor) and not isinstance(side.module, nn.PReLU)
    return weighted and not at_outputs


def _per_position(values: Tensor, side: Side) -> Tensor:
    """Sums over all that belongs to a position of a side: values are of the shape of its weight."""
    return (values.transpose(0, 1) if side.is_input else values).flatten(1).sum(1) if values.dim() > 1 else values


def _taylor(side: Side) -> Tensor:
    total = _per_position(side.weight * side.gradient(), side)
    if isinstance(side.module, BatchNorm):
        total = total + side.module.bias.detach().double() * side.gradient("bias")
    return total.abs()


def _distances(side: Side) -> Tensor | None:
    if side.is_input or not isinstance(side.module, nn.Conv2d | nn.Linear):
        return None
    filters = side.weight.flatten(1)
    return torch.cdist(filters, filters).sum(1)


def _backward(graph: Graph, batches: Labelled) -> None:
    """Accumulate the gradient of the mean cross-entropy on the traced copy."""
    graph.model.zero_grad()
    with torch.enable_grad():
        for pixels, labels in batches:
            loss = nn.functional.cross_entropy(graph.model(pixels.clone()), labels, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]

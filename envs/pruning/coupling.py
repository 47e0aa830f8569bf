"""Finds channels that can only be removed together: the closure of torch-pruning's dependencies, one by one.

torch-pruning's own search follows lists of channels, of which slices and concatenations make new ones without end
(Swin, ReXNet). Here every position of every operation is visited once, so that the work is at most the number of
dependencies times the number of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

_SINGLE = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True)
class Reach:
    """Positions of one side of an operation that go with channels of a layer.

    Attributes:
        node: torch-pruning's node of the operation; ``node.module`` is a module, a parameter, or stands for a function.
        handler: torch-pruning's function that would remove them: it tells the sides apart.
        positions: ``(n,)``, in the order in which they were reached.
        channels: ``(n,)``, the channel that each goes with.
    """

    node: Any
    handler: Callable[..., Any]
    positions: NDArray[np.int64]
    channels: NDArray[np.int64]


@dataclass(frozen=True)
class Coupling:
    """All that goes with the outputs of a layer.

    Attributes:
        reached: the layer's own outputs first.
        ends: whether all of it exists. A reshaping that the tracing misunderstands leads to positions that no operation
            has, and from these to others without end; they are not followed.
    """

    reached: list[Reach]
    ends: bool


def couplings(dependencies: Any) -> Iterator[Coupling]:
    """For every convolution and linear layer whose outputs no earlier one reached: all that goes with its outputs.

    Channels that turn out to go together, because something ties one of them to another, have the same number.

    Args:
        dependencies: a built ``torch_pruning.DependencyGraph``.
    """
    seen: set[nn.Module] = set()
    layers = [module for module in dependencies.module2node if isinstance(module, nn.Conv2d | nn.Linear)]
    most = max((size for layer in layers for size in _sizes(layer)), default=0)
    for layer in layers:
        if layer not in seen and layer.weight.shape[0] > 1:
            found = _closure(dependencies, layer, most)
            out = (each for each in found.reached if dependencies.is_out_channel_pruning_fn(each.handler))
            seen |= {each.node.module for each in out}
            yield found


def _sizes(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    """Inputs and outputs: a reshaped map has no more of them than the layer that reads it."""
    return layer.weight.shape[0], layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _closure(dependencies: Any, root: nn.Conv2d | nn.Linear, most: int) -> Coupling:
    from torch_pruning._helpers import _HybridIndex

    node = dependencies.module2node[root]
    handler = dependencies.get_pruner_of_module(root).prune_out_channels
    start = [_HybridIndex(idx=channel, root_idx=channel) for channel in range(root.weight.shape[0])]
    found: dict[tuple[Any, Any], dict[int, int]] = {(node, handler): {index.idx: index.root_idx for index in start}}
    ties: list[tuple[int, int]] = []
    ends = True
    waiting = [(node, handler, start)]
    while waiting:
        node, handler, indices = waiting.pop()
        for dependency in node.dependencies:
            if dependency.is_triggered_by(handler) and not _is_broadcast(dependencies, dependency):
                known = found.setdefault((dependency.target, dependency.handler), {})
                fresh = []
                for index in _mapped(dependency, indices):
                    if not 0 <= index.idx < most:
                        ends = False
                    elif index.idx in known:
                        ties.append((known[index.idx], index.root_idx))
                    else:
                        known[index.idx] = index.root_idx
                        fresh.append(index)
                if fresh:
                    waiting.append((dependency.target, dependency.handler, fresh))
    same = _merged(len(start), ties)
    reached = [
        Reach(node, handler, np.array(list(known), dtype=np.int64), same[list(known.values())])
        for (node, handler), known in found.items()
        if known
    ]
    return Coupling(reached, ends)


def _mapped(dependency: Any, indices: list[Any]) -> list[Any]:
    for mapping in dependency.index_mapping:
        if mapping is not None:
            indices = mapping(indices)
    return indices


def _is_broadcast(dependencies: Any, dependency: Any) -> bool:
    """Whether the other end has a single output channel: tied to many others, it is spread over all of them."""
    module = dependency.target.module
    if not isinstance(module, _SINGLE) or not dependencies.is_out_channel_pruning_fn(dependency.handler):
        return False
    return (module.num_features if isinstance(module, nn.modules.batchnorm._NormBase) else module.weight.shape[0]) == 1


def _merged(channels: int, ties: list[tuple[int, int]]) -> NDArray[np.int64]:
    """``(channels,)``: the number of every channel, where channels that are tied share one; in order, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = np.array(ties, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(channels, channels))
    _, label = connected_components(graph, directed=False)
    _, start, number = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[number].astype(np.int64)

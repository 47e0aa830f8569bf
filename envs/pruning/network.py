"""A dense network and its prunable layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.choices import SCOPES
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks.resnet import PaddedShortcut
from prunebench.envs.pruning.grouped import join_grouped
from prunebench.envs.pruning.groups import (
    ChannelGroup,
    Graph,
    call_order,
    dependency_graph,
    folded_norms,
    is_depthwise,
    scoped_groups,
)
from prunebench.envs.pruning.layers import Dimension, Norm, PrunableLayer, Shortcut, Unit


class PrunableNetwork:
    """Finds the prunable layers of a CNN through torch-pruning's dependency graph.

    Scope ``inner`` is that of the AMC and BOCR papers: channels inside a block. A group of coupled channels is prunable
    when one layer produces it, no addition ties it to others, some layer consumes it, and something other than
    convolution and batch norm happens to it on the way: this leaves out the outputs of linear bottlenecks. Layers that
    only gate the channels (squeeze-and-excite) do not count as producers. Scope ``all`` adds the rest: channels that
    shortcuts tie are one prunable layer together. Grouped convolutions lose whole groups.

    Args:
        model: the dense network; put into evaluation mode and not modified.
        example: one input image ``(1, C, H, W)`` on the model's device, to trace with.
        scope: a name in :data:`prunebench.envs.choices.SCOPES`.

    Attributes:
        units: convolutions and linear layers in the order of their calls.
        norms: batch norms that are not folded into a unit.
        shortcuts: option-A shortcuts between stages.
        layers: the prunable layers, in the order in which their channels are produced.
        channels: ``(D,)``, channels of each prunable layer.

    Raises:
        TaskError: there is nothing to prune, or a prunable group passes a layer that cannot be sliced.
    """

    def __init__(self, model: nn.Module, example: Tensor, scope: str = "inner") -> None:
        check_choice("scope", scope, SCOPES)
        self.model = model.eval()
        self.scope = scope
        self.example = example
        self._order, shapes = call_order(model, example)
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
                raise TaskError(f"layer {name}: a batch norm without running statistics depends on the whole batch")
        graph, groups = self.trace()
        if not groups:
            where = "inside a block " if scope == "inner" else ""
            raise TaskError(f"{type(model).__name__}: no channels {where}that could be pruned")
        self.channels = [group.channels for group in groups]
        self.units = _units(graph, groups, self._order, shapes)
        self.norms = _norms(graph, groups, {unit.norm_name for unit in self.units})
        self.shortcuts = _shortcuts(graph, groups)
        self.layers = [self._layer(g, group) for g, group in enumerate(groups)]

    def trace(self) -> tuple[Graph, list[ChannelGroup]]:
        """The graph of a copy, and the channel groups behind :attr:`layers`; not kept, it holds all weights again."""
        graph = dependency_graph(self.model, self.example)
        groups = join_grouped(scoped_groups(graph, self.scope), graph.originals)
        return graph, sorted(groups, key=lambda group: self._order.index(self._first_producer(group)))

    def _first_producer(self, group: ChannelGroup) -> str:
        return min((name for name in group.producers if name in self._order), key=self._order.index)

    def _layer(self, index: int, group: ChannelGroup) -> PrunableLayer:
        consumers = [unit for unit in self.units if index in unit.inputs.layers and unit.mixes]
        name = self._first_producer(group)
        if not consumers:
            raise TaskError(f"layer {name}: no convolution or linear layer reads its channels")
        return PrunableLayer(index, name, group.channels, consumers)

    def table(self, importance: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
        """The layer table of :class:`prunebench.envs.environment.channel_pruning.ChannelPruningEnv`: plain arrays per
        prunable layer."""
        units = [layer.main_consumer for layer in self.layers]
        convs = [unit.module if isinstance(unit.module, nn.Conv2d) else None for unit in units]
        columns: dict[str, list[int]] = {
            "channels": self.channels,
            "c_in": [len(unit.inputs.owner) for unit in units],
            "c_out": [len(unit.outputs.owner) for unit in units],
            "kernel": [conv.kernel_size[0] if conv else 1 for conv in convs],
            "stride": [conv.stride[0] if conv else 1 for conv in convs],
            "height": [unit.out_hw[0] for unit in units],
            "width": [unit.out_hw[1] for unit in units],
            "macs": [unit.macs for unit in units],
            "parameters": [unit.module.weight.numel() for unit in units],
        }
        return {
            "name": [layer.name for layer in self.layers],
            "type": ["conv" if conv else "linear" for conv in convs],
            **{key: np.array(values, dtype=np.int64) for key, values in columns.items()},
            "importance": list(importance),
        }


def _units(
    graph: Graph, groups: list[ChannelGroup], order: list[str], shapes: dict[str, tuple[int, int]]
) -> list[Unit]:
    """Every convolution and linear layer of the network in the order of their calls."""
    norms = {graph.names[layer]: graph.names[norm] for layer, norm in folded_norms(graph)}
    units = []
    for name in order:
        module = graph.originals[name]
        norm_name = norms.get(name)
        norm = graph.originals[norm_name] if norm_name else None
        assert isinstance(module, nn.Conv2d | nn.Linear)
        assert norm is None or isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        n_in = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
        outputs = _dimension(name, module.weight.shape[0], ("out", "both"), groups)
        inputs = outputs if is_depthwise(module) else _dimension(name, n_in, ("in",), groups)
        units.append(Unit(name, module, norm_name, norm, inputs, outputs, shapes[name]))
    return units


def _norms(graph: Graph, groups: list[ChannelGroup], folded: set[str | None]) -> list[Norm]:
    return [
        Norm(name, module, _dimension(name, module.num_features, ("both",), groups))
        for name, module in graph.originals.items()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and name not in folded
    ]


def _shortcuts(graph: Graph, groups: list[ChannelGroup]) -> list[Shortcut]:
    return [
        Shortcut(
            name,
            module,
            _dimension(name, module.c_in, ("in",), groups),
            _dimension(name, module.c_out, ("out",), groups),
        )
        for name, module in graph.originals.items()
        if isinstance(module, PaddedShortcut)
    ]


def _dimension(name: str, size: int, sides: tuple[str, ...], groups: list[ChannelGroup]) -> Dimension:
    owner, channel = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for index, group in enumerate(groups):
        for member in group.members:
            if member.name == name and member.side in sides:
                owner[member.positions] = index
                channel[member.positions] = np.arange(len(member.positions))[:, None]
    return Dimension(owner, channel)

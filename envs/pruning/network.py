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
from prunebench.envs.pruning import forward
from prunebench.envs.pruning.grouped import join_grouped
from prunebench.envs.pruning.groups import (
    ChannelGroup,
    Graph,
    LeftOut,
    dependency_graph,
    following_norms,
    is_depthwise,
    scoped_groups,
)
from prunebench.envs.pruning.layers import BatchNorm, Dimension, Norm, PrunableLayer, Shortcut, Unit
from prunebench.envs.pruning.plain import (
    LAYERS,
    NORMS,
    Calls,
    has_numbers_per_channel,
    has_plain_forward,
    sliceable_sides,
    watched,
)


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
        exclude: names of prunable layers that are to stay whole.

    Attributes:
        layout: the memory format that images and weights are run in, see :func:`forward.layout`.
        units: convolutions and linear layers in the order of their calls.
        norms: batch norms that are not folded into a unit, and other modules with a number for every channel.
        shortcuts: option-A shortcuts between stages.
        layers: the prunable layers, in the order in which their channels are produced.
        channels: ``(D,)``, channels of each prunable layer.
        left_out: why channels that the scope allows are not prunable, by the name of the layer that produces them.
        other_macs: multiply-accumulates outside of units, as those of attention.

    Raises:
        TaskError: there is nothing to prune, or the network cannot be traced.
    """

    def __init__(self, model: nn.Module, example: Tensor, scope: str = "inner", exclude: Sequence[str] = ()) -> None:
        check_choice("scope", scope, SCOPES)
        model.eval()
        self.model = model
        self.scope = scope
        self.example = example
        self._exclude = exclude
        self.layout = forward.layout(model, example)
        self._calls, macs = forward.traced(model, example)
        self._whole = _untouchable(model, self._calls)
        self.left_out: LeftOut = {}
        graph, groups = self.trace()
        if not groups:
            raise TaskError(self._nothing())
        self.channels = [group.channels for group in groups]
        self.units = _units(graph, groups, self._calls)
        self.norms = _norms(graph, groups, {unit.norm_name for unit in self.units})
        self.shortcuts = _shortcuts(graph, groups)
        self.layers = [self._layer(g, group) for g, group in enumerate(groups)]
        self.other_macs = macs - sum(unit.macs for unit in self.units)

    def trace(self) -> tuple[Graph, list[ChannelGroup]]:
        """The graph of a copy, and the channel groups behind :attr:`layers`; not kept, it holds all weights again."""
        graph = dependency_graph(self.model, self.example)
        groups, unsliceable = scoped_groups(graph, self.scope, self._calls.order, self._whole)
        joined, uneven = join_grouped(groups, graph.originals)
        self.left_out = unsliceable | uneven
        named = {self._first_producer(group): group for group in joined}
        for name in (name for name, group in named.items() if not _is_read(group)):
            self.left_out[name] = "no convolution or linear layer reads and mixes its channels"
        for name in self._exclude:
            check_choice("exclude", name, [*named, *self.left_out])
            self.left_out[name] = "excluded"
        names = sorted(set(named) - set(self.left_out), key=self._calls.order.index)
        return graph, [named[name] for name in names]

    def _first_producer(self, group: ChannelGroup) -> str:
        order = self._calls.order
        return min((name for name in group.producers if name in order), key=order.index)

    def _nothing(self) -> str:
        where = "inside a block " if self.scope == "inner" else ""
        why = "".join(f"; {name}: {reason}" for name, reason in self.left_out.items())
        return f"{type(self.model).__name__}: no channels {where}that could be pruned{why}"

    def _layer(self, index: int, group: ChannelGroup) -> PrunableLayer:
        consumers = [unit for unit in self.units if index in unit.inputs.layers and unit.mixes]
        return PrunableLayer(index, self._first_producer(group), group.channels, consumers)

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


def _untouchable(model: nn.Module, calls: Calls) -> dict[str, str]:
    """Names of layers and norms that must stay whole, and why.

    Raises:
        TaskError: what an image gives depends on the others of its batch.
    """
    whole = dict.fromkeys(calls.tied, "it shares a parameter with another layer")
    whole |= dict.fromkeys(calls.repeated, "it is called more than once in a forward pass")
    whole |= dict.fromkeys(calls.odd, "it takes or gives something else than one tensor")
    for name, module in watched(model).items():
        if isinstance(module, BatchNorm) and module.running_mean is None:
            raise TaskError(f"layer {name}: a batch norm without running statistics depends on the whole batch")
        if isinstance(module, LAYERS) and "weight" not in module._parameters:
            whole[name] = "its weight is no parameter"
        elif isinstance(module, NORMS) and not has_numbers_per_channel(module):
            whole[name] = "it holds numbers of another shape than one for each channel"
        elif isinstance(module, nn.BatchNorm1d | nn.InstanceNorm1d) and len(calls.inputs.get(name, ())) == 3:
            whole[name] = "it normalises over places"
        elif name in calls.inputs and isinstance(module, nn.Conv2d | nn.Linear) and not has_plain_forward(module):
            found = sliceable_sides(module, calls.inputs[name])
            whole |= {} if all(found) else {name: f"{type(module).__name__} is more than its weights times its input"}
    return whole


def _is_read(group: ChannelGroup) -> bool:
    """Whether some layer reads the channels and mixes them."""
    readers = (member.module for member in group.members if member.side == "in")
    return any(isinstance(module, nn.Linear) or getattr(module, "groups", 0) == 1 for module in readers)


def _units(graph: Graph, groups: list[ChannelGroup], calls: Calls) -> list[Unit]:
    """Every convolution and linear layer of the network in the order of their calls."""
    shared = calls.tied | calls.repeated | calls.looked_into
    plain = {name: name not in shared and has_plain_forward(graph.originals[name]) for name in calls.order}
    followed = ((graph.names[layer], graph.names[norm]) for layer, norm in following_norms(graph))
    norms = {
        name: norm
        for name, norm in followed
        if plain.get(name) and calls.readers[name] == {norm} and norm not in shared
        if has_plain_forward(graph.originals[norm]) and _over_outputs(graph.originals[name], calls.sizes[name])
    }
    units = []
    for name in calls.order:
        module, norm_name = graph.originals[name], norms.get(name)
        norm = graph.originals[norm_name] if norm_name else None
        assert isinstance(module, nn.Conv2d | nn.Linear)
        assert norm is None or isinstance(norm, BatchNorm)
        n_in = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
        outputs = _dimension(name, module.weight.shape[0], ("out", "both"), groups)
        inputs = outputs if is_depthwise(module) else _dimension(name, n_in, ("in",), groups)
        units.append(Unit(name, module, norm_name, norm, inputs, outputs, calls.sizes[name], plain[name]))
    return units


def _over_outputs(layer: nn.Module, size: tuple[int, int]) -> bool:
    """Whether a batch norm behind the layer normalises over its outputs: over places where there are several."""
    return isinstance(layer, nn.Conv2d) or size == (1, 1)


def _norms(graph: Graph, groups: list[ChannelGroup], folded: set[str | None]) -> list[Norm]:
    found = []
    for name, module in graph.originals.items():
        if isinstance(module, (*NORMS, nn.PReLU)) and name not in folded:
            size = module.num_parameters if isinstance(module, nn.PReLU) else module.num_features
            found.append(Norm(name, module, _dimension(name, size, ("both",), groups)))
    return found


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

"""A dense network, its prunable layers, and the physically smaller network of a realised policy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.cost import CostModel
from envs.errors import TaskError
from envs.groups import Member, call_order, dependency_graph, folded_norms, inner_groups, is_depthwise, producer_name

Fold = tuple[Tensor, Tensor]  # per output channel: scale, shift


@dataclass(frozen=True)
class Dimension:
    """The channels along one side (input or output) of a module, and which prunable layer each belongs to.

    Attributes:
        owner: ``(size,)``, index of the prunable layer that owns the position, or -1 where it is never pruned.
        channel: ``(size,)``, the position's channel within its owner.
    """

    owner: NDArray[np.int64]
    channel: NDArray[np.int64]

    @property
    def layers(self) -> tuple[int, ...]:
        """The prunable layers that own positions here, ascending."""
        return tuple(int(g) for g in np.unique(self.owner) if g >= 0)

    def kept(self, counts: Sequence[int], ranks: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Positions that remain, ascending, when each layer keeps its ``counts`` channels of lowest rank."""
        keep = np.ones(len(self.owner), dtype=bool)
        for g in self.layers:
            mine = self.owner == g
            keep[mine] = ranks[g][self.channel[mine]] < counts[g]
        return np.flatnonzero(keep)

    def affine(self, channels: Sequence[int]) -> NDArray[np.float64]:
        """``(D + 1,)``: the number of remaining positions as an affine function of the channel counts."""
        coefficients = np.zeros(len(channels) + 1)
        for g in self.layers:
            coefficients[g + 1] = np.sum(self.owner == g) / channels[g]
        coefficients[0] = np.sum(self.owner == -1)
        return coefficients


@dataclass
class Unit:
    """A convolution or linear layer with the batch norm that follows it, if any."""

    name: str
    module: nn.Conv2d | nn.Linear
    norm_name: str | None
    norm: nn.BatchNorm2d | None
    inputs: Dimension
    outputs: Dimension
    out_hw: tuple[int, int]
    """Height and width of the output; (1, 1) for a linear layer."""

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered on its own."""
        return is_depthwise(self.module)

    @property
    def kernel_area(self) -> int:
        """Weights per pair of input and output channel."""
        return int(np.prod(self.module.kernel_size)) if isinstance(self.module, nn.Conv2d) else 1

    def fold(self) -> Fold:
        """Scale and shift that the batch norm (or none) and the layer's bias apply to the bare product."""
        bias = self.module.bias
        shift = torch.zeros(self.module.weight.shape[0]) if bias is None else bias.detach().clone()
        if self.norm is None:
            return torch.ones_like(shift), shift
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        scale = self.norm.weight.detach() / torch.sqrt(self.norm.running_var + self.norm.eps)
        return scale, (shift - self.norm.running_mean) * scale + self.norm.bias.detach()


@dataclass
class PrunableLayer:
    """Channels removed together: one dimension of the search."""

    index: int
    name: str
    """Name of the module that produces the channels."""
    channels: int
    consumers: list[Unit]
    """The units that read the channels; their weights decide the importance."""


class PrunableNetwork:
    """Finds the prunable layers of a CNN through torch-pruning's dependency graph and slices its layers.

    The scope is that of the AMC and BOCR papers: channels inside a block. A group of coupled channels is prunable
    when exactly one layer produces it, no addition ties it to others, some layer consumes it, and something other than
    convolution and batch norm happens to it on the way: this leaves out the outputs of linear bottlenecks.

    Args:
        model: the dense network; put into evaluation mode and not modified.
        example: one input batch ``(N, C, H, W)`` on the model's device, to trace with.

    Raises:
        TaskError: there is nothing to prune, or a prunable group passes a layer this class cannot slice.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model.eval()
        order, shapes = call_order(model, example)
        graph = dependency_graph(model, example)
        groups = list(inner_groups(graph))
        groups.sort(key=lambda group: order.index(producer_name(group)))
        if not groups:
            raise TaskError(f"{type(model).__name__}: no channels inside a block that could be pruned")
        self.units = _units(model, graph, groups, order, shapes)
        self.layers = [self._layer(g, group) for g, group in enumerate(groups)]
        self.channels = [layer.channels for layer in self.layers]
        self._skeleton = self._make_skeleton()
        self._slots = dict(self._skeleton.named_modules())

    def _layer(self, index: int, group: list[Member]) -> PrunableLayer:
        consumers = [unit for unit in self.units if index in unit.inputs.layers and not unit.depthwise]
        return PrunableLayer(index, producer_name(group), len(group[0].positions), consumers)

    def _make_skeleton(self) -> nn.Module:
        """A copy whose batch norms are folded away; :meth:`small` gives it its weights."""
        skeleton = copy.deepcopy(self.model)
        modules = dict(skeleton.named_modules())
        for unit in self.units:
            if unit.norm_name is not None:
                parent, _, leaf = unit.norm_name.rpartition(".")
                setattr(modules[parent], leaf, nn.Identity())
        return skeleton.requires_grad_(False)

    def small(self, weights: Callable[[Unit], tuple[Tensor, Tensor]]) -> nn.Module:
        """The physically smaller network with batch norm folded.

        Args:
            weights: folded weight ``(out, in, ...)`` and bias ``(out,)`` of a unit.

        Returns:
            A module that the next call changes: it is one skeleton whose layers are given new weights.
        """
        for unit in self.units:
            slot: Any = self._slots[unit.name]
            weight, bias = weights(unit)
            slot.weight = nn.Parameter(weight, requires_grad=False)
            slot.bias = nn.Parameter(bias, requires_grad=False)
            if unit.depthwise:
                slot.in_channels = slot.out_channels = slot.groups = len(weight)
        return self._skeleton

    def costs(self) -> dict[str, CostModel]:
        """The closed-form MACs and parameters; parameters are counted before batch norm is folded."""
        one = np.eye(1, len(self.channels) + 1)[0]
        macs, parameters = [], []
        for unit in self.units:
            inputs = one if unit.depthwise else unit.inputs.affine(self.channels)
            outputs = unit.outputs.affine(self.channels)
            macs.append((unit.kernel_area * unit.out_hw[0] * unit.out_hw[1], inputs, outputs))
            parameters.append((unit.kernel_area, inputs, outputs))
            per_channel = (unit.module.bias is not None) + 2 * (unit.norm is not None)
            parameters.append((per_channel, one, outputs))
        return {name: _cost_model(terms) for name, terms in (("macs", macs), ("parameters", parameters))}

    def table(self, importance: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
        """The layer table of :class:`envs.pruning_env.ChannelPruningEnv`: plain arrays per prunable layer."""
        units = [layer.consumers[0] for layer in self.layers]
        convs = [unit.module if isinstance(unit.module, nn.Conv2d) else None for unit in units]
        columns: dict[str, list[int]] = {
            "channels": self.channels,
            "c_in": [len(unit.inputs.owner) for unit in units],
            "c_out": [len(unit.outputs.owner) for unit in units],
            "kernel": [conv.kernel_size[0] if conv else 1 for conv in convs],
            "stride": [conv.stride[0] if conv else 1 for conv in convs],
            "height": [unit.out_hw[0] for unit in units],
            "width": [unit.out_hw[1] for unit in units],
        }
        table: dict[str, Any] = {key: np.array(values, dtype=np.int64) for key, values in columns.items()}
        weights = np.array([unit.module.weight.numel() for unit in units], dtype=np.int64)
        return {
            "name": [layer.name for layer in self.layers],
            "type": ["conv" if conv else "linear" for conv in convs],
            **table,
            "macs": weights * table["height"] * table["width"],
            "parameters": weights,
            "importance": list(importance),
        }


def _units(
    model: nn.Module,
    graph: Any,
    groups: list[list[Member]],
    order: list[str],
    shapes: dict[str, tuple[int, int]],
) -> list[Unit]:
    """Every convolution and linear layer of the network in the order of their calls."""
    modules = dict(model.named_modules())
    norms = {graph.names[conv]: graph.names[norm] for conv, norm in folded_norms(graph)}
    units = []
    for name in order:
        module = modules[name]
        norm_name = norms.get(name)
        norm = modules[norm_name] if norm_name else None
        assert isinstance(module, nn.Conv2d | nn.Linear)
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        n_out, n_in = module.weight.shape[0], module.weight.shape[1]
        outputs = _dimension(name, n_out, ("out", "both"), groups)
        inputs = outputs if is_depthwise(module) else _dimension(name, n_in, ("in",), groups)
        units.append(Unit(name, module, norm_name, norm, inputs, outputs, shapes[name]))
    return units


def _dimension(name: str, size: int, sides: tuple[str, ...], groups: list[list[Member]]) -> Dimension:
    owner, channel = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for index, group in enumerate(groups):
        for member in group:
            if member.name == name and member.side in sides:
                owner[member.positions] = index
                channel[member.positions] = np.arange(len(member.positions))[:, None]
    return Dimension(owner, channel)


def _cost_model(terms: Sequence[tuple[float, NDArray[np.float64], NDArray[np.float64]]]) -> CostModel:
    weight, inputs, outputs = zip(*((w, i, o) for w, i, o in terms if w), strict=True)
    return CostModel(np.array(weight, dtype=np.float64), np.array(inputs), np.array(outputs))

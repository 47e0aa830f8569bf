"""Groups of coupled channels, found through torch-pruning's dependency graph."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.errors import TaskError
from prunebench.envs.networks.resnet import PaddedShortcut
from prunebench.envs.pruning.coupling import Coupling, Reach, couplings
from prunebench.envs.pruning.plain import NORMS

_TWO_SIDED = (nn.Conv2d, nn.Linear, PaddedShortcut)
LeftOut = dict[str, str]
"""Why channels are left out, by the name of the layer that produces them."""
_TYING = {"AddBackward0", "SubBackward0"}
_UNDERSTOOD = {
    f"{name}Backward{number}"
    for name in (
        *("Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "Elu", "Gelu", "Silu", "Sigmoid", "Hardsigmoid", "Tanh"),
        *("Hardtanh", "Hardswish", "Mish", "Clone", "Alias", "Contiguous", "Mean", "AdaptiveAvgPool2D", "AvgPool2D"),
        *("MaxPool2DWithIndices", "View", "ReshapeAlias", "UnsafeView", "Squeeze", "Cat", "Convolution", "Addmm", "T"),
    )
    for number in range(2)
}
"""Operations between layers that the tracing handles rightly: they are no explanation of what it does not."""


@dataclass(frozen=True)
class Member:
    """One side of a module in a group; ``positions[c]`` are the positions that go with channel ``c``."""

    name: str
    module: nn.Module
    side: str  # "in", "out", or "both" for modules that treat every channel on its own
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, side by side in all members.

    Attributes:
        members: the sides of modules that are sliced.
        sources: the members of the groups that were joined into this one, each as it was before, and which channel
            each of theirs belongs to.
    """

    members: list[Member]
    sources: list[tuple[list[Member], NDArray[np.int64]]]

    @property
    def channels(self) -> int:
        """How many channels there are to choose from."""
        return len(self.members[0].positions)

    @property
    def producers(self) -> list[str]:
        """Names of the layers that produce the channels."""
        return [member.name for member in self.members if member.side == "out"]


@dataclass(frozen=True)
class Graph:
    """torch-pruning's graph of a copy of a network.

    Attributes:
        dependencies: the graph itself.
        model: the copy that it was traced on.
        names: of the copy's modules.
        originals: the network's own modules by name.
    """

    dependencies: Any
    model: nn.Module
    names: dict[Any, str]
    originals: dict[str, nn.Module]


def dependency_graph(model: nn.Module, example: Tensor) -> Graph:
    """Trace a copy of a network on an input batch ``(N, C, H, W)``.

    Raises:
        TaskError: torch-pruning cannot trace the network.
    """
    import torch_pruning

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        trainable = copy.deepcopy(model)
        for parameter in trainable.parameters():  # the graph is traced through autograd
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        dependencies = torch_pruning.DependencyGraph()
        try:
            dependencies.build_dependency(
                trainable,
                example,
                customized_pruners={PaddedShortcut: _shortcut_pruner()},
                ignored_layers=[module for module in trainable.modules() if _is_one_factor(module)],
            )
        except Exception as error:  # whatever its tracing runs into
            raise TaskError(
                f"{type(model).__name__}: torch-pruning cannot follow the channels {_where(error, trainable)}"
                f"({type(error).__name__}: {error})"
            ) from error
    names: dict[Any, str] = {module: name for name, module in trainable.named_modules()}
    names |= {parameter: name for name, parameter in trainable.named_parameters()}
    return Graph(dependencies, trainable, names, dict(model.named_modules()))


def _where(error: BaseException, model: nn.Module) -> str:
    """The operation that the tracing failed at and the layer before it, from the failed call's own variables."""
    names = {module: name for name, module in model.named_modules()}
    trace, node = error.__traceback__, None
    while trace is not None:
        values = trace.tb_frame.f_locals.values()
        found = [value for value in values if hasattr(value, "grad_fn") and hasattr(value, "inputs")]
        node, trace = found[0] if found else node, trace.tb_next
    waiting = [] if node is None else [node]
    for before in waiting:  # grows: nearest first
        if before.module in names:
            return f"of layer {names[before.module]} through {_operation(node)} behind it "
        waiting += [other for other in before.inputs if other not in waiting]
    return ""


def _shortcut_pruner() -> Any:
    """An option-A shortcut is traced like a layer with inputs and outputs of its own: it ties nothing."""
    from torch_pruning.pruner.function import BasePruningFunc

    class ShortcutPruner(BasePruningFunc):  # type: ignore[misc]
        # only traced with, never called; two functions, because one and the same would tie inputs to outputs
        def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
            raise NotImplementedError

        def prune_in_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
            raise NotImplementedError

        def get_out_channels(self, layer: PaddedShortcut) -> int:
            return layer.c_out

        def get_in_channels(self, layer: PaddedShortcut) -> int:
            return layer.c_in

    return ShortcutPruner()


def scoped_groups(
    graph: Graph, scope: str, order: Sequence[str], untouchable: Mapping[str, str]
) -> tuple[list[ChannelGroup], LeftOut]:
    """The groups of channels that a scope allows to prune.

    Args:
        graph: of the network.
        scope: ``inner``: channels inside a block, produced by one layer and tied to no others by an addition, to which
            something other than convolution and batch norm happens on the way (this leaves out linear bottlenecks);
            ``all``: every group that some layer consumes.
        order: names of layers in the order of their calls.
        untouchable: names of modules that must stay whole, and why.

    Returns:
        Groups in which the two sides of a grouped convolution are not joined yet; and what the scope allows but cannot
        be sliced: why, by the name of the layer that produces the channels.
    """
    groups: list[ChannelGroup] = []
    left_out: LeftOut = {}
    wanted = _inside_a_block if scope == "inner" else _consumed
    for coupling in couplings(graph.dependencies):
        if wanted(graph, coupling.reached):
            try:
                groups.append(_channel_group(graph, coupling, untouchable))
            except TaskError as error:
                left_out[_first_producer(graph, coupling.reached, order)] = str(error)
        elif not _is_followed(graph, coupling.reached):
            left_out[_first_producer(graph, coupling.reached, order)] = (
                "the tracing finds nobody who reads its channels"
            )
    return groups, left_out


def _is_followed(graph: Graph, reached: list[Reach]) -> bool:
    """Whether the channels lead to a layer or to the network's output; else they are read out of autograd's sight."""
    return any(not each.node.outputs or _side(graph, each) == "in" for each in reached)


def _first_producer(graph: Graph, reached: list[Reach], order: Sequence[str]) -> str:
    producers = {graph.names[each.node.module] for each in reached if _side(graph, each) == "out"}
    return min(producers & set(order), key=order.index, default=graph.names[reached[0].node.module])


def _consumed(graph: Graph, reached: list[Reach]) -> bool:
    """Whether some layer reads the channels, and they are not the network's output."""
    sides = [_side(graph, each) for each in reached if each.node.module in graph.names]
    return "in" in sides and not any(type(each.node.module).__name__ == "_OutputOp" for each in reached)


def _inside_a_block(graph: Graph, reached: list[Reach]) -> bool:
    operations = [each.node for each in reached if each.node.module not in graph.names]
    tied = any(_operation(node) in _TYING and len(node.inputs) > 1 for node in operations)
    return bool(operations) and not tied and _consumed(graph, reached)


def _operation(node: Any) -> str:
    return str(node.grad_fn).split()[0].strip("<")


def _channel_group(graph: Graph, coupling: Coupling, untouchable: Mapping[str, str]) -> ChannelGroup:
    reached = coupling.reached
    channels = int(reached[0].channels.max()) + 1
    if channels == 1:
        raise TaskError("all its channels are tied to each other")
    strange = sorted({_operation(each.node) for each in reached if each.node.module not in graph.names} - _UNDERSTOOD)
    if not coupling.ends:
        raise TaskError(
            f"the tracing does not understand what becomes of its channels ({', '.join(strange)} on the way)"
        )
    members = []
    for each in reached:
        if each.node.module in graph.names and not _is_one_factor(each.node.module):
            _refuse_unsliceable(graph, each, strange, untouchable)
            members.append(_member(graph, each, channels, graph.names[reached[0].node.module]))
    return ChannelGroup(members, [(members, np.arange(channels))])


def _is_one_factor(module: Any) -> bool:
    """Whether it is a PReLU with one factor for all channels, which nothing needs to be removed from."""
    return isinstance(module, nn.PReLU) and module.num_parameters == 1


def _side(graph: Graph, reach: Reach) -> str:
    """Which side of an operation was reached: one that treats every channel on its own has but one function."""
    out = graph.dependencies.is_out_channel_pruning_fn(reach.handler)
    into = graph.dependencies.is_in_channel_pruning_fn(reach.handler)
    return "both" if out and into else "out" if out else "in"


def _member(graph: Graph, reach: Reach, channels: int, producer: str) -> Member:
    name = graph.names[reach.node.module]
    counts = np.bincount(reach.channels, minlength=channels)
    if counts.min() != counts.max():
        others = "each other" if name == producer else f"those of {producer}"
        raise TaskError(f"layer {name}: its channels do not go one to one with {others}")
    order = np.lexsort((reach.positions, reach.channels))
    positions = reach.positions[order].reshape(channels, -1)
    return Member(name, graph.originals.get(name, reach.node.module), _side(graph, reach), positions)


def _refuse_unsliceable(graph: Graph, reach: Reach, strange: list[str], untouchable: Mapping[str, str]) -> None:
    module, name = reach.node.module, graph.names[reach.node.module]
    if name in untouchable:
        raise TaskError(f"layer {name}: {untouchable[name]}")
    if isinstance(module, nn.Parameter):
        raise TaskError(f"parameter {name} of shape {tuple(module.shape)} scales or shifts channels by itself")
    if not isinstance(module, (*_TWO_SIDED, nn.PReLU, *NORMS)):
        over = "it normalises over the channels, so that each depends on all"
        why = over if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm) else "it cannot be sliced"
        raise TaskError(f"layer {name}: {' '.join(str(module).split())}: {why}")
    size, last = _size(module, _side(graph, reach)), int(reach.positions.max())
    if last >= size:
        between = f" ({', '.join(strange)} may be why)" if strange else ", or a concatenation with the image,"
        raise TaskError(
            f"layer {name}: it has {size} channels, but the tracing ties its channel {last} to others: "
            f"what lies between{between} is not understood"
        )


def _size(module: nn.Module, side: str) -> int:
    """How many positions one side of a sliceable module has."""
    match module:
        case nn.Conv2d():
            return module.in_channels if side == "in" else module.out_channels
        case nn.Linear():
            return module.in_features if side == "in" else module.out_features
        case PaddedShortcut():
            return module.c_in if side == "in" else module.c_out
        case nn.PReLU():
            return module.num_parameters
    assert isinstance(module, NORMS)
    return module.num_features


def is_depthwise(module: nn.Module) -> bool:
    """Whether the module is a convolution that filters every channel on its own."""
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels


def following_norms(graph: Graph) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of a layer and the batch norm that is its only reader, as modules of ``graph.model``."""
    for module, node in graph.dependencies.module2node.items():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            before = node.inputs[0] if len(node.inputs) == 1 else None
            if before and isinstance(before.module, nn.Conv2d | nn.Linear) and len(before.outputs) == 1:
                yield before.module, module

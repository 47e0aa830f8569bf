"""Groups of coupled channels, found through torch-pruning's dependency graph."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.errors import TaskError
from prunebench.envs.networks.resnet import PaddedShortcut

_TYING = {"AddBackward0", "SubBackward0"}


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
        sources: torch-pruning's own groups that went into this one, and which channel each of theirs belongs to.
    """

    members: list[Member]
    sources: list[tuple[Any, NDArray[np.int64]]]

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
        trainable = copy.deepcopy(model).requires_grad_(True)  # the graph is traced through autograd
        dependencies = torch_pruning.DependencyGraph()
        try:
            dependencies.build_dependency(trainable, example, customized_pruners={PaddedShortcut: _shortcut_pruner()})
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


def scoped_groups(graph: Graph, scope: str) -> list[ChannelGroup]:
    """The groups of channels that a scope allows to prune.

    Args:
        graph: of the network.
        scope: ``inner``: channels inside a block, produced by one layer and tied to no others by an addition, to which
            something other than convolution and batch norm happens on the way (this leaves out linear bottlenecks);
            ``all``: every group that some layer consumes.

    Returns:
        Groups in which the two sides of a grouped convolution are not joined yet.

    Raises:
        TaskError: such a group passes a layer that cannot be sliced.
    """
    wanted = _inside_a_block if scope == "inner" else _consumed
    types = [nn.Conv2d, nn.Linear]
    found = [group for group in graph.dependencies.get_all_groups(root_module_types=types) if wanted(graph, group)]
    return [_channel_group(graph, group) for group in found]


def _consumed(graph: Graph, group: Any) -> bool:
    """Whether some layer reads the channels, and they are not the network's output."""
    sides = [_side(graph, dep) for dep, _ in group if dep.target.module in graph.names]
    return "in" in sides and not any(type(dep.target.module).__name__ == "_OutputOp" for dep, _ in group)


def _inside_a_block(graph: Graph, group: Any) -> bool:
    operations = [dep.target for dep, _ in group if dep.target.module not in graph.names]
    tied = any(_operation(node) in _TYING and len(node.inputs) > 1 for node in operations)
    return bool(operations) and not tied and _consumed(graph, group)


def _operation(node: Any) -> str:
    return str(node.grad_fn).split()[0].strip("<")


def _channel_group(graph: Graph, group: Any) -> ChannelGroup:
    members = [_member(graph, item) for item in group.items if item.dep.target.module in graph.names]
    for member in members:
        _refuse_unsliceable(member)
    channels = len(members[0].positions)
    for member in members:
        if len(member.positions) != channels:
            raise TaskError(f"layer {member.name}: its channels do not go one to one with those of {members[0].name}")
    return ChannelGroup(members, [(group, np.arange(channels))])


def _side(graph: Graph, dep: Any) -> str:
    module = dep.target.module
    if not isinstance(module, nn.Conv2d | nn.Linear | PaddedShortcut) or is_depthwise(module):
        return "both"
    return "out" if graph.dependencies.is_out_channel_pruning_fn(dep.handler) else "in"


def _member(graph: Graph, item: Any) -> Member:
    target = item.dep.target.module
    name = graph.names[target]
    roots, places = np.array(item.root_idxs), np.array(item.idxs)
    channels = len(np.unique(roots))
    if len(places) % channels:
        raise TaskError(f"layer {name}: its {len(places)} positions do not share out among {channels} channels")
    positions = places[np.argsort(roots, kind="stable")].reshape(channels, -1)
    return Member(name, graph.originals.get(name, target), _side(graph, item.dep), positions)


def _refuse_unsliceable(member: Member) -> None:
    module = member.module
    if isinstance(module, nn.Parameter):
        raise TaskError(f"parameter {member.name} of shape {tuple(module.shape)} scales or shifts channels by itself")
    if not isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | PaddedShortcut):
        why = "it normalises over the channels, so that each depends on all" if "Norm" in type(module).__name__ else ""
        raise TaskError(f"layer {member.name}: {module} cannot be pruned{': ' * bool(why)}{why}")
    size, last = _size(module, member.side), int(member.positions.max())
    if last >= size:
        raise TaskError(
            f"layer {member.name}: it has {size} channels, but the tracing ties its channel {last} to others: padding, "
            "or a concatenation with the image, is not understood"
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
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    return module.num_features


def is_depthwise(module: nn.Module) -> bool:
    """Whether the module is a convolution that filters every channel on its own."""
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels


def folded_norms(graph: Graph) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of a layer and the batch norm that is its only reader, as modules of ``graph.model``."""
    for module, node in graph.dependencies.module2node.items():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            before = node.inputs[0] if len(node.inputs) == 1 else None
            if before and isinstance(before.module, nn.Conv2d | nn.Linear) and len(before.outputs) == 1:
                yield before.module, module


def call_order(model: nn.Module, example: Tensor) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Names of convolutions and linear layers in the order of their calls, and their output sizes.

    Raises:
        TaskError: one of them, or a batch norm, is called more than once; or the network gives no logits.
    """
    calls: set[str] = set()
    order: list[str] = []
    shapes: dict[str, tuple[int, int]] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def remember(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if name in calls:
                raise TaskError(f"layer {name}: called more than once in a forward pass")
            calls.add(name)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                return
            order.append(name)
            conv = isinstance(module, nn.Conv2d)
            # a linear layer may be applied at every place of a map (N, H, W, C)
            shapes[name] = (output.shape[-2], output.shape[-1]) if conv else (output[0].numel() // output.shape[-1], 1)

        return remember

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    try:
        with torch.inference_mode():
            logits: Any = model(example)
    except TaskError:
        raise
    except Exception as error:  # whatever a network of the user's runs into
        what = " ".join(f"{type(error).__name__}: {error}".split())
        size = " x ".join(map(str, example.shape[2:]))
        raise TaskError(f"{type(model).__name__}: does not run on an image of {size}: {what}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        given = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise TaskError(f"{type(model).__name__}: gives {given}, expected logits (images, classes)")
    return order, shapes

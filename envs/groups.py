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

from envs.errors import TaskError


@dataclass(frozen=True)
class Member:
    """One side of a module in a group; ``positions[c]`` are the positions that go with channel ``c``."""

    name: str
    module: nn.Module
    side: str  # "in", "out", or "both" for modules that treat every channel on its own
    positions: NDArray[np.int64]


def dependency_graph(model: nn.Module, example: Tensor) -> Any:
    """torch-pruning's graph of a copy of ``model``, with the copy's modules mapped to names and originals."""
    import torch_pruning

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        trainable = copy.deepcopy(model).requires_grad_(True)  # the graph is traced through autograd
        graph = torch_pruning.DependencyGraph().build_dependency(trainable, example)
    graph.names = {module: name for name, module in trainable.named_modules()}
    graph.originals = dict(model.named_modules())
    return graph


def inner_groups(graph: Any) -> Iterator[list[Member]]:
    """Groups of channels inside a block, as members that must be sliced."""
    for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        members = [m for m in (_member(graph, dep, idxs) for dep, idxs in group) if m is not None]
        operations = {
            str(dep.target.grad_fn).split()[0].strip("<") for dep, _ in group if dep.target.name.startswith("_")
        }
        tied = "AddBackward0" in operations or sum(m.side == "out" for m in members) != 1
        consumed = any(m.side == "in" for m in members)
        if not tied and consumed and operations:
            for member in members:
                _refuse_unsliceable(member)
            yield members


def _member(graph: Any, dep: Any, idxs: Sequence[Any]) -> Member | None:
    module = dep.target.module
    if module not in graph.names:  # an operation without parameters
        return None
    per_channel = isinstance(module, nn.BatchNorm2d) or is_depthwise(module)
    side = "both" if per_channel else "out" if graph.is_out_channel_pruning_fn(dep.handler) else "in"
    roots = np.array(
        [getattr(i, "root_idx", None) if getattr(i, "root_idx", None) is not None else n for n, i in enumerate(idxs)]
    )
    places = np.array([int(getattr(i, "idx", i)) for i in idxs])
    channels = len(np.unique(roots))
    positions = places[np.argsort(roots, kind="stable")].reshape(channels, -1)
    name = graph.names[module]
    return Member(name, graph.originals[name], side, positions)


def _refuse_unsliceable(member: Member) -> None:
    module = member.module
    grouped = isinstance(module, nn.Conv2d) and module.groups > 1 and not is_depthwise(module)
    if grouped or not isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
        raise TaskError(f"layer {member.name}: {module} cannot be pruned")


def is_depthwise(module: nn.Module) -> bool:
    """Whether the module is a convolution that filters every channel on its own."""
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels


def producer_name(group: list[Member]) -> str:
    """Name of the layer that produces the group's channels."""
    return next(member.name for member in group if member.side == "out")


def folded_norms(graph: Any) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of a convolution and the batch norm that is its only reader."""
    for module, node in graph.module2node.items():
        if isinstance(module, nn.BatchNorm2d):
            (before,) = node.inputs
            if not isinstance(before.module, nn.Conv2d) or len(before.outputs) != 1:
                raise TaskError(f"layer {graph.names[module]}: a batch norm that follows no convolution")
            yield before.module, module


def call_order(model: nn.Module, example: Tensor) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Names of convolutions and linear layers in the order of their calls, and their output sizes."""
    order: list[str] = []
    shapes: dict[str, tuple[int, int]] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def remember(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if name in shapes:
                raise TaskError(f"layer {name}: called more than once in a forward pass")
            order.append(name)
            shapes[name] = (output.shape[2], output.shape[3]) if output.dim() == 4 else (1, 1)

        return remember

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        model(example)
    for handle in handles:
        handle.remove()
    return order, shapes

"""A small network's forward pass with a convolution, the shortcut added to it and its activation in one kernel.

oneDNN computes them in one go; eager PyTorch writes and reads the map in between. The operators are those that
PyTorch's own compiler uses on processors; the numbers are eager's to the last bit. What of a network they do not cover
runs as it is: the network's graph is found by :mod:`torch.fx`, once.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.plain import has_plain_forward

Activation = tuple[str, list[float]]
"""As oneDNN names it, and its numbers."""

_NONE: Activation = ("none", [])
_RELU: Activation = ("relu", [])
_RELU6: Activation = ("hardtanh", [0.0, 6.0])
_FUNCTIONS: dict[Any, Activation] = {
    F.relu: _RELU,
    torch.relu: _RELU,
    torch.relu_: _RELU,
    "relu": _RELU,
    "relu_": _RELU,
    F.relu6: _RELU6,
}
_MODULES: dict[type[nn.Module], Activation] = {nn.ReLU: _RELU, nn.ReLU6: _RELU6}
_FINITE = frozenset(
    """
    ReLU ReLU6 Sigmoid SiLU GELU Hardswish Hardsigmoid Identity Dropout Flatten Conv2d Linear BatchNorm2d
    MaxPool2d AvgPool2d AdaptiveMaxPool2d AdaptiveAvgPool2d
    relu relu_ relu6 sigmoid silu gelu hardswish hardsigmoid dropout flatten linear pad
    max_pool2d avg_pool2d adaptive_max_pool2d adaptive_avg_pool2d mean amax add add_ sub mul mul_ floordiv
    cat chunk split getitem getattr size view reshape permute transpose contiguous squeeze unsqueeze
    expand expand_as clone
    """.split()  # noqa: SIM905 - a list would be a page long
)
"""Modules, functions and methods that give numbers for numbers, so far as float32 reaches."""
_SIZES = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_parameters")
_SUMS = (operator.add, torch.add, "add", "add_")


class FusedNetwork:
    """Runs a network whose weights may be exchanged at any time.

    The kernels make 0 of what is no number. So networks with operations that could make some are left alone.

    Args:
        model: the network as :class:`prunebench.envs.pruning.small.SmallNetwork` fills it, now with all its channels.
        network: tells its parts, whose weights and sizes are exchanged.
        folded: whether batch norms are folded into the layers before them.

    Attributes:
        graph: what is run.

    Raises:
        Exception: of whatever kind, where the graph of the network cannot be found, or nothing of it can be fused.
    """

    def __init__(self, model: nn.Module, network: PrunableNetwork, folded: bool) -> None:
        if network.layout is not torch.channels_last or network.example.device.type != "cpu":
            raise ValueError("for networks that run channels-last on a processor")
        norms = {unit.norm_name for unit in network.units if unit.norm_name is not None}
        exchanged = norms | {unit.name for unit in network.units}
        exchanged |= {norm.name for norm in network.norms} | {shortcut.name for shortcut in network.shortcuts}
        self._run = fx.GraphModule(model, _traced(model, exchanged))
        ShapeProp(self._run).propagate(torch.cat([network.example] * 2))  # one image would hide what is broadcast
        identities = norms if folded else set()
        if not _fuse(self._run, identities):
            raise ValueError("there are no convolutions to be fused")
        self._parts = [model.get_submodule(name) for name in sorted(exchanged - identities)]
        self.graph = self._run.graph

    @property
    def finite(self) -> bool:
        """Whether all present weights are numbers: what is none would be hidden."""
        present = [tensor for part in self._parts for tensor in (*part.parameters(False), *part.buffers(False))]
        return bool(torch.stack([tensor.sum(dtype=torch.float32) for tensor in present]).isfinite().all())

    def __call__(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, C, H, W)``."""
        logits: Tensor = self._run(images)
        return logits


class FusedConvolution(nn.Module):
    """A convolution, what is added to it and an activation.

    Args:
        convolution: a plain one, whose weights and sizes may be exchanged.
        activation: what follows.
    """

    def __init__(self, convolution: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        self._convolution = [convolution]  # no module of this one: it is not to be found twice
        self._activation = activation

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C', H', W')``, which is also the shape of what is added."""
        (conv,) = self._convolution
        kernel, (name, numbers) = torch.ops.mkldnn._convolution_pointwise, self._activation
        common = (conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if added is None:
            return kernel(x, *common, name, numbers, "")
        return kernel.binary(x, added, *common, "add", 1.0, None if name == "none" else name, [], None)


def _traced(model: nn.Module, exchanged: Collection[str]) -> fx.Graph:
    """The graph of a model, found on a copy; sizes that are exchanged are hidden, so that none is taken for good.

    Raises:
        Exception: of whatever kind, where it cannot be found or may make NaN.
    """
    model = copy.deepcopy(model)
    for name in exchanged:
        for size in _SIZES:
            vars(model.get_submodule(name)).pop(size, None)
    graph = _Tracer(exchanged).trace(model)
    for node in graph.nodes:
        if node.op == "get_attr" and node.target.rpartition(".")[0] in exchanged:
            raise ValueError(f"{node.target} is read, and may be exchanged")
        if node.op.startswith("call") and node.target not in exchanged and _name(node, model) not in _FINITE:
            raise ValueError(f"{node.target} may give what is no number")
    return graph


def _name(node: fx.Node, model: nn.Module) -> str:
    """Of the method, the function, or the module's class that a node calls."""
    if node.op == "call_module":
        return type(model.get_submodule(str(node.target))).__name__
    return node.target if isinstance(node.target, str) else node.target.__name__


class _Tracer(fx.Tracer):
    """Looks into modules that are not PyTorch's own, nor exchanged."""

    proxy_buffer_attributes = True

    def __init__(self, exchanged: Collection[str]) -> None:
        super().__init__()
        self._exchanged = exchanged

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._exchanged or super().is_leaf_module(m, module_qualified_name)


def _fuse(run: fx.GraphModule, identities: Collection[str]) -> int:
    """Put fused convolutions in the place of those that something follows; returns how many there are."""
    modules = dict(run.named_modules())
    graph = run.graph
    for node in list(graph.nodes):
        if node.op == "call_module" and len(node.args) == 1 and node.target in identities:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    found = 0
    for node in list(graph.nodes):
        if node.op != "call_module" or not _can_be_fused(modules[node.target], node):
            continue
        chain, added = _with_sum([node], modules)
        chain, activation = _with_activation(chain, modules, summed=added is not None)
        if len(chain) == 1:
            continue
        name = f"_fused_by_prunebench_{found}"
        run.add_module(name, FusedConvolution(modules[node.target], activation))
        # where the sum was, what is added is there; elsewhere what the convolution reads may change behind it
        with graph.inserting_before(chain[1] if added is not None else node):
            call = graph.call_module(name, (node.args[0], *(() if added is None else (added,))))
        call.meta = chain[-1].meta
        chain[-1].replace_all_uses_with(call)
        for passed in reversed(chain):
            graph.erase_node(passed)
        found += 1
    graph.lint()
    run.recompile()
    return found


def _can_be_fused(module: nn.Module, node: fx.Node) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and has_plain_forward(module)
        and module.weight.dtype == torch.float32
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and len(node.args) == 1
        and not node.kwargs
        and len(_shape(node.args[0])) == 4
    )


def _with_sum(chain: list[fx.Node], modules: dict[str, nn.Module]) -> tuple[list[fx.Node], fx.Node | None]:
    """The chain with a sum that alone reads its end, and what is added there; the chain and None if there is none."""
    end, reader = chain[-1], _only_reader(chain[-1])
    if reader is None or reader.target not in _SUMS or reader.op == "call_module" or reader.kwargs:
        return chain, None
    terms = [term for term in reader.args if term is not end]
    if len(reader.args) != 2 or len(terms) != 1 or not isinstance(terms[0], fx.Node):
        return chain, None
    if _shape(terms[0]) != _shape(end) or (_in_place(reader, modules) and reader.args[0] is not end):
        return chain, None
    between = end.next
    while between is not reader:
        if _in_place(between, modules):
            return chain, None  # the convolution's input may be another one where the sum is
        between = between.next
    return [*chain, reader], terms[0]


def _with_activation(
    chain: list[fx.Node], modules: dict[str, nn.Module], summed: bool
) -> tuple[list[fx.Node], Activation]:
    """The chain with an activation that alone reads its end, and which one; behind a sum there is a kernel for ReLU."""
    reader = _only_reader(chain[-1])
    if reader is None or reader.args[:1] != (chain[-1],):
        return chain, _NONE
    if reader.op == "call_module":
        module = modules[str(reader.target)]
        found = None if _hooks(module) else _MODULES.get(type(module))
    else:
        found = _FUNCTIONS.get(reader.target)
    if found is None or (summed and found is not _RELU):
        return chain, _NONE
    return [*chain, reader], found


def _hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 else None


def _in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node may change what it reads."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return target.endswith("_") or any(value is True for value in (*node.args, *node.kwargs.values()))


def _shape(node: Any) -> tuple[int, ...]:
    """Of a tensor; () of anything else."""
    found = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    return tuple(getattr(found, "shape", ()))

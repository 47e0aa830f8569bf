"""Tells layers that are plain (their weights times their input) from those that are more, or that others look into.

Folding a batch norm into a layer, and refitting a layer by least squares, are right for plain layers alone. What is
not plain is run as it is. Whether it can be sliced is tried out on a copy with random weights, so that the answer does
not depend on what was trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Layer = nn.Conv2d | nn.Linear
LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm1d, nn.InstanceNorm2d)
_OWN = {nn.Conv2d: ("forward", "_conv_forward"), nn.Linear: ("forward",), _NormBase: ("forward", "_check_input_dim")}
_TOLERANCE = 1e-3


def has_plain_forward(module: nn.Module) -> bool:
    """Whether the module computes what PyTorch's class of this kind computes, with no hooks beside it."""
    base, methods = next((base, methods) for base, methods in _OWN.items() if isinstance(module, base))
    kind: Any = next(cls for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn.modules."))
    if issubclass(base, LAYERS) and "weight" not in module._parameters:
        return False
    own = isinstance(module, base) and all(getattr(type(module), name) is getattr(kind, name) for name in methods)
    return own and not (
        {"forward", "_conv_forward"} & set(vars(module)) or module._forward_hooks or module._forward_pre_hooks
    )


def has_numbers_per_channel(norm: nn.Module) -> bool:
    """Whether whatever a norm holds is one number, or one for each of its channels."""
    size = getattr(norm, "num_features", 0)
    tensors = (*norm.parameters(recurse=False), *norm.buffers(recurse=False))
    return all(tensor.numel() == 1 or tensor.shape == (size,) for tensor in tensors)


@dataclass
class Calls:
    """What a forward pass did with convolutions, linear layers and norms.

    Attributes:
        order: names of convolutions and linear layers in the order of their (first) calls.
        sizes: height and width of their outputs, by name; (1, 1) for a linear layer that is applied once.
        inputs: shapes of their inputs, and of those of norms, by name.
        repeated: names of layers and norms that were called more than once.
        odd: names of those that take or give something else than one tensor.
        tied: names of those that share a parameter with another module.
        looked_into: names of those with a parameter that something outside of them reads.
        readers: by the name of a layer, the names of what reads its output: of layers and norms, and "" for the rest.
    """

    order: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    tied: set[str] = field(default_factory=set)
    looked_into: set[str] = field(default_factory=set)
    readers: dict[str, set[str]] = field(default_factory=dict)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which storages are read, and inside which layer or norm."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inside = [""]
        self.reads: dict[int, set[str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self.reads.setdefault(_storage(leaf), set()).add(self.inside[-1])
        return func(*args, **(kwargs or {}))


def _storage(tensor: Tensor) -> int:
    with suppress(RuntimeError, NotImplementedError):  # some kinds of tensors have none
        return tensor.untyped_storage().data_ptr()
    return 0


def watched(model: nn.Module) -> dict[str, nn.Module]:
    """The modules whose calls are noted: convolutions, linear layers and norms, by (first) name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (*LAYERS, *NORMS))}


@contextmanager
def calls(model: nn.Module) -> Iterator[Calls]:
    """While it lasts, calls of the model's layers and norms are noted; complete when it ends."""
    found, watch = Calls(), _Watch()
    modules = watched(model)
    outputs: dict[str, Tensor] = {}  # kept, so that no other tensor takes their place in memory

    def enter(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, kwargs: Any) -> None:
            watch.inside.append(name)

        return note

    def leave(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            watch.inside.pop()
            given = (*args, *kwargs.values())
            if not isinstance(output, Tensor) or not given or not isinstance(given[0], Tensor):
                found.odd.add(name)
                return
            if name in outputs:
                found.repeated.add(name)
                return
            outputs[name] = output
            watch.reads.pop(_storage(output), None)  # what it was read for while it was made
            found.inputs[name] = tuple(given[0].shape)
            if isinstance(module, LAYERS):
                found.order.append(name)
                found.sizes[name] = _size(module, output)

        return note

    handles = [module.register_forward_pre_hook(enter(name), with_kwargs=True) for name, module in modules.items()]
    handles += [module.register_forward_hook(leave(name), with_kwargs=True) for name, module in modules.items()]
    try:
        with watch:
            yield found
    finally:
        for handle in handles:
            handle.remove()
    found.readers = {name: watch.reads.get(_storage(outputs[name]), set()) for name in found.order}
    for storage, names in _owners(model).items():
        found.tied |= names & set(modules) if len(names) > 1 else set()
        found.looked_into |= names & set(modules) if watch.reads.get(storage, set()) - names else set()


def _owners(model: nn.Module) -> dict[int, set[str]]:
    """Names of the modules that have a parameter or buffer of their own in a storage."""
    owners: dict[int, set[str]] = {}
    for name, module in model.named_modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if _storage(tensor):
                owners.setdefault(_storage(tensor), set()).add(name)
    return owners


def _size(module: nn.Module, output: Tensor) -> tuple[int, int]:
    """Places that the layer was applied at, of one image: parts of it may stand side by side in a batch."""
    if isinstance(module, nn.Conv2d):
        return output.shape[-2] * (len(output) if output.dim() == 4 else 1), output.shape[-1]
    return output.numel() // output.shape[-1], 1  # perhaps of a map (N, H, W, C)


def layer_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The input of a layer's call, however it was given."""
    return args[0] if args else next(iter(kwargs.values()))


def sliceable_sides(layer: Layer, shape: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether a layer of a kind of its own computes the same when inputs that are zero, or outputs, are removed.

    Args:
        layer: the layer; a copy with random weights is tried.
        shape: of its input.
    """
    generator = torch.Generator().manual_seed(0)
    dense = copy.deepcopy(layer).cpu()
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 2 - 0.7)
    x = torch.randn(2, *shape[1:], generator=generator)
    return _inputs_can_go(dense, x), _outputs_can_go(dense, x)


def _inputs_can_go(dense: Layer, x: Tensor) -> bool:
    if isinstance(dense, nn.Conv2d) and dense.groups > 1:
        return True  # they go with outputs
    axis = 1 if isinstance(dense, nn.Conv2d) else -1
    keep = torch.arange(x.shape[axis]) % 2 == 0
    mask = keep.float().view(-1, 1, 1) if axis == 1 else keep.float()
    small = copy.deepcopy(dense)
    small.weight = nn.Parameter(dense.weight[:, keep].detach())
    _set_sizes(small)
    return _same(dense, x * mask, small, x.index_select(axis, keep.nonzero().flatten()), slice(None), axis)


def _outputs_can_go(dense: Layer, x: Tensor) -> bool:
    axis = 1 if isinstance(dense, nn.Conv2d) else -1
    groups = dense.groups if isinstance(dense, nn.Conv2d) else 1
    rows = torch.arange(len(dense.weight)).view(groups, -1)
    rows = (rows[::2] if groups > 1 else rows[:, ::2]).flatten()
    small = copy.deepcopy(dense)
    small.weight = nn.Parameter(dense.weight[rows].detach())
    small.bias = None if dense.bias is None else nn.Parameter(dense.bias[rows].detach())
    if isinstance(small, nn.Conv2d) and groups > 1:
        small.groups = (groups + 1) // 2
        x = x.view(len(x), groups, -1, *x.shape[2:])
        mine, x = x[:, ::2].flatten(1, 2), x.flatten(1, 2)
    else:
        mine = x
    _set_sizes(small)
    return _same(dense, x, small, mine, rows, axis)


def _set_sizes(layer: Layer) -> None:
    if isinstance(layer, nn.Conv2d):
        layer.in_channels, layer.out_channels = layer.weight.shape[1] * layer.groups, len(layer.weight)
    else:
        layer.out_features, layer.in_features = layer.weight.shape


def _same(dense: Layer, x: Tensor, small: Layer, mine: Tensor, rows: Any, axis: int) -> bool:
    with torch.no_grad(), suppress(Exception):  # a layer of the user's may fail in any way
        expected, found = dense(x), small(mine)
        expected = expected if isinstance(rows, slice) else expected.index_select(axis, rows)
        if expected.shape == found.shape:
            return float((expected - found).abs().max()) <= _TOLERANCE * float(expected.abs().max())
    return False

"""A check of a network's prunable layers before anything is built on them: does removing channels do what it should?

Removing channels is right when the smaller network computes what the dense network computes once nobody reads these
channels any more. The two are built in different ways (sliced weights; inputs set to zero), so a channel that was
traced wrongly, and whatever the tracing did not see, shows as a difference. Costs are counted by PyTorch itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.errors import TaskError
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.pruning.forward import counted, logits_of, spread
from prunebench.envs.pruning.layers import Dimension, Shortcut, Unit
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork

TOLERANCE = 1e-3  # of the logits' spread, in float32
POLICIES = 3
_WHAT = "checking that channels can be removed"
_TRIES = 5  # to find the layer at fault, where a policy of all layers shows that there is one

Ranks = Sequence[NDArray[np.int64]]


def verify(network: PrunableNetwork, *, each: bool = True, progress: Progress = silent) -> None:
    """Compare smaller networks with the dense one: with nothing removed, for random policies, and layer by layer.

    Args:
        network: the network; left as it is.
        each: whether channels of every layer alone are removed, too, when nothing is wrong with the policies.
        progress: see :mod:`prunebench.envs.progress`.

    Raises:
        TaskError: they differ, and not by leaving a layer alone; names the layers at fault where there are such.
    """
    _check_dense(network)
    _check_costs(network)
    rng = np.random.default_rng(0)
    small = SmallNetwork(network, folded=False)
    dense = network.channels
    orders = [rng.permutation(channels) for channels in dense]
    if problem := _difference(network, small, dense, orders):
        raise TaskError(f"{type(network.model).__name__}: rebuilt with nothing removed, it is another: {problem}")
    steps = POLICIES + each * len(network.layers)
    for number in range(POLICIES):
        progress(_WHAT, number, steps)
        orders = [rng.permutation(channels) for channels in dense]
        counts = [int(rng.integers(1, channels)) for channels in dense]
        if problem := _difference(network, small, counts, orders):
            for _ in range(_TRIES):
                _check_each(network, small, rng, counting=True)
            raise TaskError(f"{type(network.model).__name__}: channels cannot be removed together: {problem}")
    if each:
        _check_each(network, small, rng, lambda what, number, layers: progress(what, POLICIES + number, steps))
    progress(_WHAT, steps, steps)


def _check_each(
    network: PrunableNetwork,
    small: SmallNetwork,
    rng: np.random.Generator,
    progress: Progress = silent,
    *,
    counting: bool = False,
) -> None:
    """Remove random channels of each layer alone; raise TaskError with the layers that do not bear it.

    Where all layers' multiply-accumulates together were right, ``counting`` them once more would only take time.
    """
    faults = {}
    for layer in network.layers:
        progress(_WHAT, layer.index, len(network.layers))
        orders = [rng.permutation(channels) for channels in network.channels]
        alone = list(network.channels)
        alone[layer.index] = int(rng.integers(1, layer.channels))
        if problem := _difference(network, small, alone, orders, counting):
            faults[layer.name] = problem
    if faults:
        raise TaskError(_blame(faults, network.scope))


def _blame(faults: dict[str, str], scope: str) -> str:
    (name, problem), *others = faults.items()
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"layer {name}{more}: its channels cannot be removed: {problem}; scope {scope!r}; "
        f"--exclude {','.join(faults)} leaves out what cannot"
    )


def _check_dense(network: PrunableNetwork) -> None:
    """Raise TaskError where the dense network itself is at fault: it has no numbers, or others every time."""
    name = type(network.model).__name__
    for key, tensor in network.model.named_parameters():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise TaskError(f"{name}: {key} holds infinity, or what is no number")
    images = _images(network)
    first, second, alone = (logits_of(network.model, part.clone()) for part in (images, images, images[:1]))
    if not bool(first.isfinite().all()):
        raise TaskError(f"{name}: gives infinity, or what is no number, for random images")
    if not torch.equal(first, second) and not float((first - second).abs().max()) <= _limit(first):
        raise TaskError(f"{name}: gives other outputs for the same images: something in it stays random in evaluation")
    if not float((alone - first[:1]).abs().max()) <= _limit(first):
        raise TaskError(f"{name}: what it gives for an image depends on the others of its batch")


def _check_costs(network: PrunableNetwork) -> None:
    """Raise TaskError unless every policy costs something, and more with every channel."""
    for name, cost in (("macs", cost_formulas.macs(network)), ("parameters", cost_formulas.parameters(network))):
        least = [1] * len(network.channels)
        grown = least + np.eye(len(least), dtype=np.int64)
        if not float(cost(least)) > 0 or not bool((cost(grown) >= cost(least)).all()):
            raise TaskError(f"{type(network.model).__name__}: its {name} are no sum of what its layers have")


def enliven(model: nn.Module, example: Tensor) -> None:
    """Give a fresh network weights with which every channel counts: some start at zero, or fade layer by layer.

    Scales and shifts are drawn at random; every layer's outputs are brought to a standard deviation of 1 on the way of
    random images ``(2, C, H, W)`` like ``example``.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator).to(like.device)

    def normalise(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        size = output.std().clamp(min=1e-6)
        for parameter in module.parameters(recurse=False):
            parameter.div_(size)
        return output / size

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = {id(layer.weight) for layer in layers}
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) not in weights:
                parameter.copy_(0.5 + noise(parameter))
        hooks = [layer.register_forward_hook(normalise) for layer in layers]
        try:
            model.eval()
            logits_of(model, torch.randn(2, *example.shape[1:], generator=generator).to(example.device))
        finally:
            for hook in hooks:
                hook.remove()


def _images(network: PrunableNetwork) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *network.example.shape[1:], generator=generator).to(network.example.device)


def _limit(logits: Tensor) -> float:
    return TOLERANCE * spread(logits)


def _difference(
    network: PrunableNetwork, small: SmallNetwork, counts: Sequence[int], ranks: Ranks, counting: bool = True
) -> str | None:
    """What is wrong with the smaller network of channel counts, or None."""

    def kept(dimension: Dimension) -> NDArray[np.int64]:
        return dimension.kept(counts, ranks)

    images = _images(network)
    try:
        model = small.fill(lambda unit: sliced(unit, counts, ranks), kept)
        with counted(len(images)) if counting else torch.no_grad() as macs:
            logits = model(images.clone())
    except Exception as error:  # a wrongly traced network may fail in any way
        return f"the smaller network does not run ({' '.join(str(error).split()) or type(error).__name__})"
    with torch.no_grad(), unread(network, network.model, counts, ranks):
        expected = network.model(images.clone())
    off = float((logits - expected).abs().max())
    if not off <= _limit(expected):
        return (
            f"the smaller network's outputs differ from the dense one's by {off / spread(expected):.2g} of their size"
        )
    formula = cost_formulas.macs(network)(counts)
    if macs and macs[0] != formula:
        return f"the closed form gives {formula:.0f} MACs, PyTorch counts {macs[0]:.0f}"
    return None


def sliced(unit: Unit, counts: Sequence[int], ranks: Ranks) -> tuple[Tensor, Tensor | None]:
    """The dense network's own weight and bias for the kept inputs and outputs."""
    outputs = torch.from_numpy(unit.outputs.kept(counts, ranks))
    weight, bias = unit.module.weight.detach()[outputs], unit.module.bias
    if not unit.grouped:
        weight = weight[:, torch.from_numpy(unit.inputs.kept(counts, ranks))]
    return weight, None if bias is None else bias.detach()[outputs]


@contextmanager
def unread(network: PrunableNetwork, model: nn.Module, counts: Sequence[int], ranks: Ranks) -> Iterator[None]:
    """While it lasts, layers of ``model`` (the dense network or a copy) read zeros in place of removed channels."""
    modules = dict(model.named_modules())
    handles = []
    readers: list[Unit | Shortcut] = [*(unit for unit in network.units if unit.mixes), *network.shortcuts]
    for part in readers:
        mask = torch.zeros(len(part.inputs.owner), device=network.example.device)
        mask[torch.from_numpy(part.inputs.kept(counts, ranks))] = 1
        if not isinstance(part.module, nn.Linear):
            mask = mask[:, None, None]
        handles.append(modules[part.name].register_forward_pre_hook(_masked(mask), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _masked(mask: Tensor) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (args[0] * mask.to(args[0].dtype), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, kwargs | {name: kwargs[name] * mask.to(kwargs[name].dtype)}

    return hook

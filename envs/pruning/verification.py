"""A check of a network's prunable layers before anything is built on them: does removing channels do what it should?

Removing channels is right when the smaller network computes what the dense network computes once nobody reads these
channels any more. The two are built in different ways (sliced weights; inputs set to zero), so a channel that was
traced wrongly, and whatever the tracing did not see, shows as a difference. Costs are counted by PyTorch itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from prunebench.envs.errors import TaskError
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.pruning.layers import Dimension, Shortcut, Unit
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork

TOLERANCE = 1e-3  # of the largest logit, in float32

Ranks = Sequence[NDArray[np.int64]]


def verify(network: PrunableNetwork) -> None:
    """Compare smaller networks with the dense one, for a random policy and, to name the culprit, for each layer.

    Raises:
        TaskError: they differ; names the layer.
    """
    rng = np.random.default_rng(0)
    orders = [rng.permutation(channels) for channels in network.channels]
    counts = [int(rng.integers(1, channels + 1)) for channels in network.channels]
    small = SmallNetwork(network, folded=False)
    problem = _difference(network, small, counts, orders)
    if problem is None:
        return
    for layer in network.layers:
        alone = list(network.channels)
        alone[layer.index] = max(1, layer.channels // 2)
        reason = _difference(network, small, alone, orders)
        if reason is not None:
            raise TaskError(f"layer {layer.name}: its channels cannot be removed: {reason}; scope {network.scope!r}")
    raise TaskError(f"{type(network.model).__name__}: channels cannot be removed together: {problem}")


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
        for parameter in module.parameters():
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
            model.eval()(torch.randn(2, *example.shape[1:], generator=generator).to(example.device))
        finally:
            for hook in hooks:
                hook.remove()


def _difference(network: PrunableNetwork, small: SmallNetwork, counts: Sequence[int], ranks: Ranks) -> str | None:
    """What is wrong with the smaller network of channel counts, or None."""

    def kept(dimension: Dimension) -> NDArray[np.int64]:
        return dimension.kept(counts, ranks)

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *network.example.shape[1:], generator=generator).to(network.example.device)
    model = small.fill(lambda unit: sliced(unit, counts, ranks), kept)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            logits = model(images)
    except Exception as error:  # a wrongly traced network may fail in any way
        return f"the smaller network does not run ({' '.join(str(error).split()) or type(error).__name__})"
    with torch.no_grad(), unread(network, network.model, counts, ranks):
        expected = network.model(images)
    off = float((logits - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not off <= TOLERANCE:
        return f"the smaller network's outputs differ from the dense one's by {off:.2g} of their size"
    macs = cost_formulas.macs(network)(counts)
    counted = counter.get_total_flops() / 2 / len(images)
    if counted != macs:
        return f"the closed form gives {macs:.0f} MACs, PyTorch counts {counted:.0f}"
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
        handles.append(modules[part.name].register_forward_pre_hook(lambda _, args, mask=mask: (args[0] * mask,)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

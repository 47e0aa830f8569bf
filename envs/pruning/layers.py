"""The parts of a network as pruning sees them: what is sliced, and which prunable layer owns which channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.networks.resnet import PaddedShortcut

Fold = tuple[Tensor, Tensor]  # per output channel: scale, shift
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Channelwise = BatchNorm | nn.InstanceNorm1d | nn.InstanceNorm2d | nn.PReLU
"""Modules with a number of their own for every channel."""


@dataclass(frozen=True)
class Dimension:
    """The channels along one side (input or output) of a module, and which prunable layer each belongs to.

    Attributes:
        owner: ``(size,)``, index of the prunable layer that owns the position, or -1 where it is never pruned.
        channel: ``(size,)``, the position's channel within its owner.
    """

    owner: NDArray[np.int64]
    channel: NDArray[np.int64]

    @cached_property
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
    """A convolution or linear layer with the batch norm that follows it and can be folded into it, if any."""

    name: str
    module: nn.Conv2d | nn.Linear
    norm_name: str | None
    norm: BatchNorm | None
    inputs: Dimension
    outputs: Dimension
    out_hw: tuple[int, int]
    """Height and width of the output; (1, 1) for a linear layer."""
    plain: bool = True
    """Whether it is no more than its weights times its input: nothing else is refitted."""

    @property
    def grouped(self) -> bool:
        """Whether the outputs of a channel group are computed from its own inputs alone (depthwise: groups of one)."""
        return isinstance(self.module, nn.Conv2d) and self.module.groups > 1

    @property
    def sliced(self) -> bool:
        """Whether the layer has channels that may be removed, on either side."""
        return bool(self.inputs.layers or self.outputs.layers)

    @property
    def mixes(self) -> bool:
        """Whether the layer reads prunable channels and mixes them: such layers are refitted where they are plain."""
        return bool(self.inputs.layers) and not self.grouped

    @property
    def kernel_area(self) -> int:
        """Weights per pair of input and output channel."""
        return int(np.prod(self.module.kernel_size)) if isinstance(self.module, nn.Conv2d) else 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer."""
        return self.module.weight.numel() * self.out_hw[0] * self.out_hw[1]

    def sides(self, channels: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Inputs that every output reads, and outputs, as affine functions of the channel counts: ``(D + 1,)`` each."""
        constant = self.module.weight.shape[1] * np.eye(1, len(channels) + 1)[0]
        return constant if self.grouped else self.inputs.affine(channels), self.outputs.affine(channels)

    def fold(self) -> Fold:
        """Scale and shift that the batch norm (or none) and the layer's bias apply to the bare product."""
        weight, bias = self.module.weight, self.module.bias
        shift = weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()
        if self.norm is None:
            return torch.ones_like(shift), shift
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        scale = 1 / torch.sqrt(self.norm.running_var + self.norm.eps)
        offset = -self.norm.running_mean * scale
        if self.norm.affine:
            gamma = self.norm.weight.detach()
            scale, offset = scale * gamma, offset * gamma + self.norm.bias.detach()
        return scale, shift * scale + offset


@dataclass
class Norm:
    """A batch norm that is not folded into the layer before it, or what else has a number for every channel."""

    name: str
    module: Channelwise
    channels: Dimension

    @property
    def factors(self) -> int:
        """Parameters per channel."""
        return sum(1 for parameter in self.module.parameters() if parameter.dim())


@dataclass
class Shortcut:
    """An option-A shortcut between stages of different width."""

    name: str
    module: PaddedShortcut
    inputs: Dimension
    outputs: Dimension


@dataclass
class PrunableLayer:
    """Channels removed together: one dimension of the search."""

    index: int
    name: str
    """Name of the module that produces the channels; the first one where there are several."""
    channels: int
    consumers: list[Unit]
    """The units that read and mix the channels, in the order of their calls."""

    @property
    def main_consumer(self) -> Unit:
        """The consumer with the most MACs: the one that the layer table describes."""
        return max(self.consumers, key=lambda unit: unit.macs)

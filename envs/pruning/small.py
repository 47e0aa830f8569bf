"""The physically smaller network of a realised policy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.pruning.layers import BatchNorm, Channelwise, Dimension, Shortcut, Unit
from prunebench.envs.pruning.network import PrunableNetwork

Kept = Callable[[Dimension], NDArray[np.int64]]
"""Positions of a dimension that remain, ascending."""


class SmallNetwork:
    """A copy of the dense network whose layers are given new, smaller weights for every policy.

    Args:
        network: the dense network.
        folded: whether batch norms that follow a layer are folded into it; else they are sliced like the others.

    Attributes:
        model: runs what :meth:`fill` was last called with.
        norms: the batch norms that :attr:`model` still has.
    """

    def __init__(self, network: PrunableNetwork, folded: bool = True) -> None:
        self._network, self._folded = network, folded
        self._device = next(network.model.parameters()).device
        self.model = copy.deepcopy(network.model).requires_grad_(False).to(memory_format=network.layout)
        slots = dict(self.model.named_modules())
        self._slots: dict[str, Any] = slots
        self._norms: list[tuple[Any, Channelwise, Dimension]] = []  # ours, the dense network's, its channels
        for unit in network.units:
            if unit.norm_name is not None and unit.norm is not None and not folded:
                self._norms.append((slots[unit.norm_name], unit.norm, unit.outputs))
        self._norms += [(slots[norm.name], norm.module, norm.channels) for norm in network.norms]
        self.norms: list[BatchNorm] = [mine for mine, _, _ in self._norms if isinstance(mine, BatchNorm)]
        if folded:
            for unit in network.units:
                if unit.norm_name is not None:
                    slots[unit.norm_name].forward = _same  # in its place: the network may look at its settings

    def fill(self, weights: Callable[[Unit], tuple[Tensor, Tensor | None]], kept: Kept) -> nn.Module:
        """Give every layer the size and the weights of a policy.

        Args:
            weights: weight ``(out, in, ...)`` and bias ``(out,)`` of a unit.
            kept: the positions that the policy keeps.

        Returns:
            :attr:`model`, which the next call changes.
        """
        for unit in self._network.units:
            if unit.sliced or (self._folded and unit.norm is not None):  # others keep what they may share
                self._fill_unit(unit, *weights(unit))
        for mine, dense, channels in self._norms:
            _slice_norm(mine, dense, kept(channels))
        for shortcut in self._network.shortcuts:
            selected = _selected(shortcut, kept)
            self._slots[shortcut.name].selected = None if selected is None else selected.to(self._device)
        return self.model

    def _fill_unit(self, unit: Unit, weight: Tensor, bias: Tensor | None) -> None:
        slot = self._slots[unit.name]
        slot.weight = nn.Parameter(weight, requires_grad=False)
        slot.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        if isinstance(unit.module, nn.Conv2d):
            rows = len(unit.outputs.owner) // unit.module.groups  # of one channel group
            slot.groups = len(weight) // rows if unit.grouped else 1
            slot.in_channels, slot.out_channels = weight.shape[1] * slot.groups, len(weight)
        else:
            slot.out_features, slot.in_features = weight.shape


def _same(x: Tensor) -> Tensor:
    return x


def _slice_norm(mine: Any, dense: Channelwise, kept: NDArray[np.int64]) -> None:
    """Weights and running statistics of the kept channels."""
    if isinstance(dense, nn.PReLU):
        if dense.num_parameters == 1:
            return
        mine.num_parameters = len(kept)
    else:
        mine.num_features = len(kept)
    rows = torch.from_numpy(kept)
    for name, tensor in dense.named_parameters(recurse=False):
        if tensor.numel() > 1 and len(kept) < len(tensor):  # whole, it stays what others may share
            setattr(mine, name, nn.Parameter(tensor.detach()[rows], requires_grad=False))
        elif getattr(mine, name).shape != tensor.shape:
            setattr(mine, name, nn.Parameter(tensor.detach().clone(), requires_grad=False))
    for name, statistics in dense.named_buffers(recurse=False):
        if statistics.numel() > 1 or statistics.dim() == 1:  # not the number of batches
            setattr(mine, name, statistics[rows].clone())


def _selected(shortcut: Shortcut, kept: Kept) -> Tensor | None:
    """For every kept output the kept input that it copies, or the number of kept inputs where there is none."""
    inputs, outputs = kept(shortcut.inputs), kept(shortcut.outputs)
    if len(inputs) == shortcut.module.c_in and len(outputs) == shortcut.module.c_out:
        return None
    place = np.full(shortcut.module.c_in + 1, len(inputs))
    place[inputs] = np.arange(len(inputs))
    source = np.asarray(shortcut.module.source())[outputs]  # -1 is the last place: no input
    return torch.from_numpy(place[source])

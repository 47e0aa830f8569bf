"""Closed-form costs of a network. One that is to be a budget has an entry in :mod:`prunebench.envs.tasks.costs`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.environment.cost import CostModel
from prunebench.envs.pruning.network import PrunableNetwork

Term = tuple[float, NDArray[np.float64], NDArray[np.float64]]
"""Of a cost: weight, and two affine functions of the channel counts, ``(D + 1,)`` each."""


def macs(network: PrunableNetwork) -> CostModel:
    """Multiply-accumulates of an image, those outside of convolutions and linear layers included."""
    terms: list[Term] = []
    for unit in network.units:
        inputs, outputs = unit.sides(network.channels)
        terms.append((unit.kernel_area * unit.out_hw[0] * unit.out_hw[1], inputs, outputs))
    one = np.eye(1, len(network.channels) + 1)[0]
    return cost_model([*terms, (network.other_macs, one, one)])


def parameters(network: PrunableNetwork) -> CostModel:
    """Parameters, counted before batch norm is folded."""
    one = np.eye(1, len(network.channels) + 1)[0]
    terms: list[Term] = []
    for unit in network.units:
        inputs, outputs = unit.sides(network.channels)
        terms.append((unit.kernel_area, inputs, outputs))
        per_channel = (unit.module.bias is not None) + 2 * (unit.norm is not None and unit.norm.affine)
        terms.append((per_channel, one, outputs))
    for norm in network.norms:
        terms.append((norm.factors, one, norm.channels.affine(network.channels)))
    counted = cost_model(terms)
    rest = sum(p.numel() for p in network.model.parameters()) - counted(network.channels)
    return cost_model([*terms, (float(rest), one, one)])  # of layers that are never sliced


def cost_model(terms: Sequence[Term]) -> CostModel:
    """The sum of terms; those of weight 0 are left out."""
    weight, inputs, outputs = zip(*((w, i, o) for w, i, o in terms if w), strict=True)
    return CostModel(np.array(weight, dtype=np.float64), np.array(inputs), np.array(outputs))

"""Least-squares reconstruction of a consuming layer from its most important inputs (AMC; He et al. 2017, eq. 1).

With ``X`` the dense network's sampled inputs of the layer, one row per sampled output position, and ``Y = X W'`` its
outputs without bias, the layer that keeps the input positions ``S`` gets the weights that minimise
``|X_S V - Y|^2 + |R^1/2 V|^2``, R a small multiple of the diagonal of ``G``. All it takes is the Gram matrix
``G = X'X``, because ``X'Y = G W'``::

    V_S = (G_SS + R_SS)^-1 (G W')_S

Where all prunable inputs belong to one prunable layer they are ordered by importance, every choice is a prefix, and
:class:`PrefixProblem` has nearly everything factorised beforehand; else :class:`ChoiceProblem` factorises the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.pruning.layers import Unit
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.plain import layer_input

POSITIONS = 10  # output positions sampled per image and layer, as in AMC
RIDGE = 1e-6  # times each column's own diagonal entry of the Gram matrix: features of all sizes are treated alike
_LEAST_RIDGE = 1e-12  # times the mean diagonal entry: makes layers with dead channels solvable
WIDEST = 8192  # columns; wider layers (VGG's first ImageNet classifier layer: 25,088) keep their weights
_BLOCK = 512  # columns between two choices that are solved beforehand

Tensors = dict[str, Tensor]


def reconstructed_units(network: PrunableNetwork) -> list[Unit]:
    """The units that reconstruction refits: they mix prunable inputs, are plain, and are not too wide."""
    return [unit for unit in network.units if unit.mixes and unit.plain and _columns(unit) <= WIDEST]


def not_refitted(network: PrunableNetwork) -> list[str]:
    """Names of the units that mix prunable inputs and keep their weights, whatever the reconstruction."""
    refitted = {unit.name for unit in reconstructed_units(network)}
    return [unit.name for unit in network.units if unit.mixes and unit.name not in refitted]


def _columns(unit: Unit) -> int:
    return len(unit.inputs.owner) * unit.kernel_area


def gram_matrices(network: PrunableNetwork, batches: Iterable[Tensor], seed: int) -> dict[str, Tensor]:
    """Gram matrices of the layers' sampled inputs, in float64.

    Args:
        network: the dense network.
        batches: normalised calibration images ``(N, C, H, W)``.
        seed: draws the sampled positions.

    Returns:
        Per unit name ``(inputs * kernel area,) * 2``, positions channel-major; the lower triangle alone.
    """
    units = {unit.name: unit for unit in reconstructed_units(network)}
    modules = dict(network.model.named_modules())
    generator = torch.Generator().manual_seed(seed)
    grams = {
        name: next(network.model.parameters()).new_zeros(_columns(unit), _columns(unit), dtype=torch.float64)
        for name, unit in units.items()
    }

    def accumulate(name: str, inputs: Tensor) -> None:
        rows = sampled_inputs(units[name].module, inputs, generator).double()
        for start in range(0, rows.shape[1], _BLOCK):  # the upper triangle is the lower one again
            end = start + _BLOCK
            grams[name][start:end, :end].addmm_(rows[:, start:end].T, rows[:, :end])

    hooks = [
        modules[name].register_forward_pre_hook(
            lambda _, args, kwargs, name=name: accumulate(name, layer_input(args, kwargs)), with_kwargs=True
        )
        for name in units
    ]
    with torch.inference_mode():
        for batch in batches:
            network.model(batch)
    for hook in hooks:
        hook.remove()
    return {name: gram.tril_().cpu() for name, gram in grams.items()}


def sampled_inputs(module: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """What the layer sees at sampled output positions: ``(rows, inputs * kernel area)``, channel-major.

    ``POSITIONS`` random output positions per image, or every position where there are no more than that.
    """
    if isinstance(module, nn.Linear):
        vectors = inputs.flatten(1, -2) if inputs.dim() > 2 else inputs[:, None]
        places = _places(len(inputs), vectors.shape[1], generator).to(inputs.device)
        return vectors.gather(1, places[..., None].expand(-1, -1, vectors.shape[2])).flatten(0, 1)
    assert isinstance(module, nn.Conv2d)
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    sides = module._reversed_padding_repeated_twice  # numbers, also where the padding is called "same"
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = nn.functional.pad(inputs, sides, mode)
    height = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    width = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    places = _places(len(inputs), height * width, generator).to(inputs.device)
    rows = (places // width * sh)[..., None] + torch.arange(kh, device=inputs.device) * dh
    columns = (places % width * sw)[..., None] + torch.arange(kw, device=inputs.device) * dw
    image = torch.arange(len(inputs), device=inputs.device)[:, None, None, None]
    patches = padded.permute(0, 2, 3, 1)[image, rows[..., :, None], columns[..., None, :]]
    return patches.flatten(0, 1).permute(0, 3, 1, 2).flatten(1)


def _places(images: int, positions: int, generator: torch.Generator) -> Tensor:
    """``(images, POSITIONS or fewer)``: sampled positions of each image, none twice."""
    if positions <= POSITIONS:
        return torch.arange(positions).expand(images, -1)
    return torch.rand(images, positions, generator=generator).topk(POSITIONS).indices


class Problem(Protocol):
    """A layer's least-squares problem, as far as it can be solved before the choice of inputs is known."""

    def weight(self, inputs: NDArray[np.int64], outputs: NDArray[np.int64]) -> Tensor:
        """Refitted weights, ``(outputs, inputs, kernel area)``, of kept input and output positions (ascending)."""


def factorise(unit: Unit, gram: Tensor, ranks: Sequence[NDArray[np.int64]]) -> Tensors:
    """What a unit's problem needs, from its Gram matrix: plain tensors to be kept, for :func:`problem`."""
    gram = gram.tril() + gram.tril(-1).T
    added = ridge(gram.diagonal())
    moments = gram @ _dense_weight(unit).T  # X'Y
    gram.diagonal().add_(added)
    if len(unit.inputs.layers) > 1:
        return {"gram": gram, "ridge": added}
    return _prefix_tensors(unit, gram, moments, _importance_order(unit, ranks))


def ridge(diagonal: Tensor) -> Tensor:
    """What is added to the diagonal ``(columns,)`` of a Gram matrix."""
    return (RIDGE * diagonal).clamp(min=max(_LEAST_RIDGE * float(diagonal.mean()), 1e-30))


def problem(unit: Unit, tensors: Tensors, ranks: Sequence[NDArray[np.int64]]) -> Problem:
    """The problem whose tensors :func:`factorise` returned for the same unit and ranks."""
    if len(unit.inputs.layers) > 1:
        return ChoiceProblem(unit, tensors)
    return PrefixProblem(unit, tensors, _importance_order(unit, ranks))


def _importance_order(unit: Unit, ranks: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Input positions, those that are never pruned first, then the most important ones."""
    (layer,) = unit.inputs.layers
    rank = np.where(unit.inputs.owner == layer, ranks[layer][unit.inputs.channel], -1)
    return np.argsort(rank, kind="stable")


def _dense_weight(unit: Unit) -> Tensor:
    return unit.module.weight.detach().cpu().double().flatten(1)


def _expand(positions: NDArray[np.int64], area: int) -> Tensor:
    """Columns of the Gram matrix that belong to input positions."""
    return torch.from_numpy((positions[:, None] * area + np.arange(area)).ravel())


class ChoiceProblem:
    """For layers that read several prunable layers (concatenations): a choice is no prefix, it is factorised itself."""

    def __init__(self, unit: Unit, tensors: Tensors) -> None:
        self._area = unit.kernel_area
        self._gram = tensors["gram"]
        dense = _dense_weight(unit).to(self._gram.device)
        self._moments = self._gram @ dense.T - tensors["ridge"][:, None] * dense.T

    def weight(self, inputs: NDArray[np.int64], outputs: NDArray[np.int64]) -> Tensor:
        """See :class:`Problem`; in float64."""
        columns = _expand(inputs, self._area)
        factor = torch.linalg.cholesky(self._gram[columns][:, columns])
        solved = torch.cholesky_solve(self._moments[columns][:, torch.from_numpy(outputs)], factor)
        return solved.T.reshape(len(outputs), len(inputs), self._area)


class PrefixProblem:
    """For layers whose prunable inputs belong to one prunable layer: every choice is a prefix in order of importance.

    With ``L`` the Cholesky factor of the ordered Gram matrix, ``Z = L^-1 G W'``, and a prefix cut into the inputs
    ``a`` up to the last block boundary and the ``b`` beyond it::

        V_b = L_bb^-T Z_b,   V_a = V(a) - P_ab V_b,   P_ab = G_aa^-1 G_ab

    where ``V(a)``, the solution for ``a`` alone, and ``P`` are computed beforehand for every boundary: what is left
    is a small triangular solve and one product.
    """

    def __init__(self, unit: Unit, tensors: Tensors, order: NDArray[np.int64]) -> None:
        self._area = unit.kernel_area
        self._step = _step(unit)
        self._tensors = tensors
        self._order = order

    def weight(self, inputs: NDArray[np.int64], outputs: NDArray[np.int64]) -> Tensor:
        """See :class:`Problem`; float64 up to the first boundary, float32 beyond."""
        kept, area = len(inputs), self._area
        boundary = (kept - 1) // self._step * self._step
        a, end = boundary * area, kept * area
        rows = torch.from_numpy(outputs)
        block = self._tensors[f"block {boundary}"][: end - a, : end - a]
        tail = torch.linalg.solve_triangular(block.mT, self._tensors["rotated"][a:end, rows], upper=True).T
        if boundary:
            short = tail.float()
            head = self._tensors[f"solved {boundary}"][rows] - short @ self._tensors[f"regressed {boundary}"][: end - a]
            tail = torch.cat([head, short], dim=1)
        by_importance = tail.reshape(len(outputs), kept, area)
        return by_importance[:, torch.from_numpy(np.argsort(self._order[:kept]))]


def _step(unit: Unit) -> int:
    """Input positions between two boundaries."""
    return max(1, _BLOCK // unit.kernel_area)


def _prefix_tensors(unit: Unit, gram: Tensor, moments: Tensor, order: NDArray[np.int64]) -> Tensors:
    area, step = unit.kernel_area, _step(unit)
    columns = _expand(order, area)
    ordered = gram[columns][:, columns]
    factor = torch.linalg.cholesky(ordered)
    rotated = torch.linalg.solve_triangular(factor, moments[columns], upper=False)
    tensors = {"rotated": rotated}
    for boundary in range(0, len(order), step):
        a, end = boundary * area, min(boundary + step, len(order)) * area
        tensors[f"block {boundary}"] = factor[a:end, a:end].clone()
        if boundary:
            above = torch.cat([rotated[:a], factor[a:end, :a].T], dim=1)
            solved = torch.linalg.solve_triangular(factor[:a, :a].mT, above, upper=True).T.float()
            tensors[f"solved {boundary}"] = solved[: rotated.shape[1]].clone()  # (outputs, a)
            tensors[f"regressed {boundary}"] = solved[rotated.shape[1] :].clone()  # (end - a, a)
    return tensors

"""Least-squares reconstruction of a consuming layer from its most important inputs (AMC; He et al. 2017, eq. 1).

With ``X`` the dense network's sampled inputs of the layer, one row per sampled output position, and ``Y = X W'`` its
outputs without bias, the layer that keeps the input positions ``S`` gets the weights that minimise
``|X_S V - Y|^2 + ridge |V|^2``. All it takes is the Gram matrix ``G = X'X``, because ``X'Y = G W'``. With the
inputs ordered by importance every choice is a prefix; the Cholesky factor of a leading block of ``G + ridge I`` is the
leading block of its Cholesky factor ``L``, and::

    V_p = L_pp^-T Z_p,   Z = L^-1 G W'

so that one triangular solve gives the weights for any number of kept channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.errors import TaskError
from envs.network import PrunableNetwork, Unit

POSITIONS = 10  # output positions sampled per image and layer, as in AMC
RIDGE = 1e-6  # times the mean diagonal of the Gram matrix; makes layers with dead channels solvable


def reconstructed_units(network: PrunableNetwork) -> list[Unit]:
    """The units whose inputs can be pruned and that mix them: those that reconstruction refits."""
    return [unit for unit in network.units if unit.inputs.layers and not unit.depthwise]


def gram_matrices(network: PrunableNetwork, batches: Iterable[Tensor], seed: int) -> dict[str, Tensor]:
    """Gram matrices of the layers' sampled inputs, in float64.

    Args:
        network: the dense network.
        batches: normalised calibration images ``(N, C, H, W)``.
        seed: draws the sampled positions.

    Returns:
        Per unit name ``(inputs * kernel area,) * 2``, positions channel-major.
    """
    units = {unit.name: unit for unit in reconstructed_units(network)}
    modules = dict(network.model.named_modules())
    generator = torch.Generator().manual_seed(seed)
    grams: dict[str, Tensor] = {}

    def accumulate(name: str, inputs: Tensor) -> None:
        rows = sampled_inputs(units[name].module, inputs, generator).double()
        gram = rows.T @ rows
        grams[name] = grams[name].add_(gram) if name in grams else gram

    hooks = [
        modules[name].register_forward_pre_hook(lambda _, args, name=name: accumulate(name, args[0])) for name in units
    ]
    with torch.inference_mode():
        for batch in batches:
            network.model(batch)
    for hook in hooks:
        hook.remove()
    return {name: gram.cpu() for name, gram in grams.items()}


def sampled_inputs(module: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """What the layer sees at sampled output positions: ``(rows, inputs * kernel area)``, channel-major.

    A linear layer gives one row per image; a convolution gives ``POSITIONS`` random output positions per image, or
    every position where there are no more than that.
    """
    if isinstance(module, nn.Linear):
        return inputs.flatten(0, -2)
    assert isinstance(module, nn.Conv2d)
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    if isinstance(module.padding, str):
        raise TaskError(f"padding {module.padding!r} of {module}: expected numbers")
    ph, pw = module.padding
    padded = nn.functional.pad(inputs, (pw, pw, ph, ph))
    height = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    width = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    if height * width <= POSITIONS:
        places = torch.arange(height * width).expand(len(inputs), -1)
    else:
        places = torch.rand(len(inputs), height * width, generator=generator).topk(POSITIONS).indices
    places = places.to(inputs.device)
    rows = (places // width * sh)[..., None] + torch.arange(kh, device=inputs.device) * dh
    columns = (places % width * sw)[..., None] + torch.arange(kw, device=inputs.device) * dw
    image = torch.arange(len(inputs), device=inputs.device)[:, None, None, None]
    patches = padded.permute(0, 2, 3, 1)[image, rows[..., :, None], columns[..., None, :]]
    return patches.flatten(0, 1).permute(0, 3, 1, 2).flatten(1)


class Reconstruction:
    """The factorised least-squares problem of one unit.

    Args:
        unit: a unit whose inputs belong to one prunable layer.
        gram: its Gram matrix, ``(inputs * kernel area,) * 2``.
        ranks: importance ranks of the prunable layers' channels.
    """

    def __init__(self, unit: Unit, gram: Tensor, ranks: Sequence[NDArray[np.int64]]) -> None:
        (layer,) = unit.inputs.layers
        self._area = unit.kernel_area
        self._order = np.lexsort((np.arange(len(unit.inputs.owner)), ranks[layer][unit.inputs.channel]))
        columns = self._columns(len(self._order))
        ordered = gram[columns][:, columns]
        ridge = RIDGE * float(ordered.diagonal().mean())
        factor = torch.linalg.cholesky(ordered + max(ridge, 1e-30) * torch.eye(len(ordered), dtype=torch.float64))
        dense = unit.module.weight.detach().cpu().double().flatten(1)[:, columns]
        self._factor = factor
        self._rotated = torch.linalg.solve_triangular(factor, ordered @ dense.T, upper=False)

    def weight(self, positions: int, outputs: NDArray[np.int64]) -> Tensor:
        """Refitted weights in float64, ``(outputs, positions, kernel area)``.

        Args:
            positions: how many input positions are kept, the most important ones.
            outputs: which outputs to return.
        """
        size = positions * self._area
        solved = torch.linalg.solve_triangular(
            self._factor[:size, :size].mT, self._rotated[:size, torch.from_numpy(outputs)], upper=True
        )
        by_importance = solved.T.reshape(len(outputs), positions, self._area)
        return by_importance[:, torch.from_numpy(np.argsort(self._order[:positions]))]

    def _columns(self, positions: int) -> Tensor:
        """Columns of the Gram matrix in order of importance."""
        blocks = self._order[:positions, None] * self._area + np.arange(self._area)
        return torch.from_numpy(blocks.ravel())

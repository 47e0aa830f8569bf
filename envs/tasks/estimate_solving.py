"""About what the least-squares reconstruction of a network takes: seconds to prepare it, bytes to keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from prunebench.envs import device
from prunebench.envs.data.batches import Batches
from prunebench.envs.evaluation.reconstruction import _BLOCK, POSITIONS, sampled_inputs
from prunebench.envs.pruning.layers import Unit
from prunebench.envs.pruning.network import PrunableNetwork


def columns_of(unit: Unit) -> int:
    """Columns of a unit's Gram matrix."""
    return len(unit.inputs.owner) * unit.kernel_area


def _sample(module: nn.Module, inputs: Tensor, generator: torch.Generator) -> None:
    sampled_inputs(module, inputs, generator).double()


def sample(network: PrunableNetwork, units: Sequence[Unit], batches: Batches) -> None:
    """Run batches and sample the inputs of units, as it is done for the Gram matrices."""
    modules = dict(network.model.named_modules())
    generator = torch.Generator().manual_seed(0)
    hooks = [
        modules[unit.name].register_forward_pre_hook(lambda module, args: _sample(module, args[0], generator))
        for unit in units
    ]
    with torch.inference_mode():
        for pixels, _ in batches:
            network.model(pixels)
    for hook in hooks:
        hook.remove()
    device.synchronise(network.example.device)


def seconds(network: PrunableNetwork, units: Sequence[Unit], images: int) -> float:
    """Seconds of the Gram matrices and their factorisation, from their floating-point operations.

    Args:
        network: whose units they are.
        units: that are refitted.
        images: of the calibration.
    """
    multiply = solve = 0.0
    for unit in units:
        columns, outputs = columns_of(unit), len(unit.outputs.owner)
        rows = images * min(POSITIONS, unit.out_hw[0] * unit.out_hw[1])
        multiply += rows * columns**2
        solve += columns**3 / 3 + columns**2 * outputs
        solve += sum(a**2 * (outputs + _BLOCK) for a in range(_BLOCK, columns, _BLOCK))
    return multiply / _rate(_product, network.example.device) + solve / _rate(_solution, torch.device("cpu"))


def _rate(work: Callable[[Tensor], float], where: torch.device) -> float:
    """Floating-point operations per second of one piece of work, the best of three."""
    matrix = torch.eye(1024, dtype=torch.float64, device=where)
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        operations = work(matrix)
        device.synchronise(where)
        rates.append(operations / (time.perf_counter() - started))
    return max(rates)


def _product(matrix: Tensor) -> float:
    matrix.T @ matrix
    return 2 * 1024.0**3


def _solution(matrix: Tensor) -> float:
    torch.linalg.solve_triangular(matrix, matrix, upper=False)
    return 1024.0**3


def kept_bytes(unit: Unit) -> int:
    """Of what the calibration keeps for a unit (see
    :class:`prunebench.envs.evaluation.reconstruction.PrefixProblem`)."""
    columns, outputs, block = columns_of(unit), len(unit.outputs.owner), _BLOCK
    if len(unit.inputs.layers) > 1:
        return 8 * columns**2
    boundaries = range(block, columns, block)
    return 8 * columns * (outputs + min(columns, block)) + sum(4 * a * (outputs + block) for a in boundaries)

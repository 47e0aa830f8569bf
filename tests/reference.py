"""The slow way to a pruned network's outputs: dense shapes, zeros where channels are removed, nothing factorised."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import torch
from randomnets import random_network
from torch import Tensor, nn

from envs.batches import Batches
from envs.calibration import calibrate
from envs.evaluator import Evaluator
from envs.layers import Unit
from envs.network import PrunableNetwork
from envs.reconstruction import RIDGE, reconstructed_units, sampled_inputs

SEED = 3
CALIBRATION_IMAGES, IMAGES = 40, 6


def noise(name: str, count: int, seed: int) -> Tensor:
    """Images ``(count, 3, S, S)``: small ones, and where a network needs them bigger ones."""
    size = 64 if name.startswith("torchvision:") else 32 if name == "vgg16" else 16
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def batches(pixels: Tensor, size: int = 20) -> Batches:
    return Batches(pixels, torch.arange(len(pixels)) % 10, lambda same: same, size, torch.device("cpu"))


@cache
def network(name: str, scope: str) -> PrunableNetwork:
    return PrunableNetwork(random_network(name), noise(name, 1, 0), scope)


def evaluator(name: str, scope: str, importance: str = "consumer-l1", reconstruction: str = "least-squares") -> Evaluator:
    pixels = batches(noise(name, CALIBRATION_IMAGES, 1))
    least_squares = reconstruction in ("least-squares", "both")
    found = calibrate(network(name, scope), pixels, importance=importance, least_squares=least_squares, seed=SEED)
    reward = batches(noise(name, IMAGES, 2), size=4)
    recalibration = pixels if reconstruction in ("batch-norm", "both") else None
    return Evaluator(network(name, scope), found, reward, lambda: reward, recalibration)


@cache
def features(name: str, scope: str) -> dict[str, Tensor]:
    """Sampled inputs of every refitted layer, collected anew with the same sampled positions."""
    model = random_network(name)
    generator = torch.Generator().manual_seed(SEED)
    rows: dict[str, list[Tensor]] = {}
    modules = dict(model.named_modules())
    for unit in reconstructed_units(network(name, scope)):
        modules[unit.name].register_forward_pre_hook(
            lambda module, args, key=unit.name: rows.setdefault(key, []).append(
                sampled_inputs(module, args[0], generator)
            )
        )
    with torch.no_grad():
        for pixels, _ in batches(noise(name, CALIBRATION_IMAGES, 1)):
            model(pixels)
    return {key: torch.cat(parts) for key, parts in rows.items()}


def refitted(rows: Tensor, unit: Unit, kept: np.ndarray) -> Tensor:
    """Direct ridge regression in its dual form, ``X'(XX' + ridge I)^-1 Y``: ``(outputs, kept, kernel area)``."""
    x = rows.double()
    dense = unit.module.weight.detach().double()
    y = x @ dense.flatten(1).T
    ridge = RIDGE * float((x**2).sum(0).mean())
    x = x[:, torch.from_numpy((kept[:, None] * unit.kernel_area + np.arange(unit.kernel_area)).ravel())]
    solved = x.T @ torch.linalg.solve(x @ x.T + ridge * torch.eye(len(x), dtype=torch.float64), y)
    return solved.T.reshape(len(dense), len(kept), unit.kernel_area)


def pruned(found: Evaluator, name: str, scope: str, counts: tuple[int, ...], reconstruction: str) -> nn.Module:
    """The dense network with the removed channels read by nobody, layers refitted, batch norm recomputed."""
    model = copy.deepcopy(random_network(name))
    modules = dict(model.named_modules())
    least_squares = {unit.name for unit in reconstructed_units(found.network)}
    for unit in found.network.units:
        if not unit.mixes:
            continue
        kept = found.kept_inputs(unit, counts)
        dense = unit.module.weight.detach()
        if len(kept) == dense.shape[1]:
            continue
        dense = dense.view(*dense.shape[:2], -1)
        weight = torch.zeros_like(dense)
        refit = unit.name in least_squares and reconstruction in ("least-squares", "both")
        weight[:, kept] = refitted(features(name, scope)[unit.name], unit, kept).float() if refit else dense[:, kept]
        modules[unit.name].weight = nn.Parameter(weight.view_as(unit.module.weight))
    for shortcut in found.network.shortcuts:
        kept = shortcut.inputs.kept(counts, found._ranks)
        gone = np.setdiff1d(np.arange(shortcut.module.c_in), kept)
        modules[shortcut.name].register_forward_pre_hook(
            lambda _, args, gone=gone: (args[0].index_fill(1, torch.from_numpy(gone), 0.0),)
        )
    if reconstruction in ("batch-norm", "both"):
        _recompute_batch_norm(model, noise(name, CALIBRATION_IMAGES, 1))
    return model


def _recompute_batch_norm(model: nn.Module, pixels: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in pixels.split(20):
            model(batch)
    for norm in norms:
        norm.eval()


def random_counts(found: PrunableNetwork, seed: int) -> tuple[int, ...]:
    rng = np.random.default_rng(seed)
    return tuple(int(max(1, c * rng.uniform(0.05, 1))) for c in found.channels)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a fraction of the largest output."""
    return float((ours - theirs).abs().max() / theirs.abs().max())

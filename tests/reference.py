"""The slow way to a pruned network's outputs: dense shapes, zeros where channels are removed, nothing factorised.

Networks are named as in :mod:`prunebench.envs.networks.models`. Whatever does not depend on the policy is computed
once: networks and
scores for good, matrices for the few networks that were asked for last. Leave them as they are.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from randomnets import random_network
from torch import Tensor, nn

from prunebench.envs.data.batches import Batches
from prunebench.envs.evaluation import reconstruction as least_squares
from prunebench.envs.evaluation.calibration import Calibration
from prunebench.envs.evaluation.evaluator import Evaluator, recalibrate
from prunebench.envs.evaluation.reconstruction import (
    Tensors,
    factorise,
    gram_matrices,
    reconstructed_units,
    sampled_inputs,
)
from prunebench.envs.pruning.criteria import Scores, channel_scores, ranks
from prunebench.envs.pruning.layers import Unit
from prunebench.envs.pruning.network import PrunableNetwork

SEED = 3
BATCH, CALIBRATION_IMAGES, IMAGES = 16, 32, 6
remembered = lru_cache(maxsize=2)  # the largest networks' matrices take a gigabyte each


def noise(name: str, count: int, seed: int) -> Tensor:
    """Images ``(count, 3, S, S)``: small ones, and where a network needs them bigger ones."""
    size = 64 if name.startswith("torchvision:") else 32 if name == "vgg16" else 16
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def calibration_batches(name: str) -> Batches:
    return batches(noise(name, CALIBRATION_IMAGES, 1), BATCH, network(name, "inner").layout)


def batches(pixels: Tensor, size: int, layout: torch.memory_format = torch.channels_last) -> Batches:
    return Batches(pixels, torch.arange(len(pixels)) % 10, lambda same: same, size, torch.device("cpu"), layout)


@cache
def dense(name: str) -> nn.Module:
    return random_network(name)


@cache
def network(name: str, scope: str) -> PrunableNetwork:
    return PrunableNetwork(dense(name), noise(name, 1, 0), scope)


@cache
def _scores(name: str, scope: str, importance: str) -> list[Scores]:
    return channel_scores(network(name, scope), importance, calibration_batches(name), SEED)


@remembered
def _grams(name: str, scope: str, widest: int) -> dict[str, Tensor]:
    return gram_matrices(network(name, scope), (pixels for pixels, _ in calibration_batches(name)), SEED)


@remembered
def _problems(name: str, scope: str, importance: str, widest: int) -> dict[str, Tensors]:
    grams, found = _grams(name, scope, widest), network(name, scope)
    order = [ranks(score) for score in _scores(name, scope, importance)]
    return {unit.name: factorise(unit, grams[unit.name], order) for unit in reconstructed_units(found)}


def evaluator(
    name: str, scope: str, importance: str = "consumer-l1", reconstruction: str = "least-squares"
) -> Evaluator:
    """An evaluator whose reward images are noise; the matrices behind it are shared by all criteria."""
    found, pixels = network(name, scope), calibration_batches(name)
    refit = reconstruction in ("least-squares", "both")
    problems = _problems(name, scope, importance, least_squares.WIDEST) if refit else {}
    reward = batches(noise(name, IMAGES, 2), 4, found.layout)
    recalibration = pixels if reconstruction in ("batch-norm", "both") else None
    return Evaluator(
        found, Calibration(_scores(name, scope, importance), problems), reward, lambda: reward, recalibration
    )


def fused(found: Evaluator) -> bool:
    """Let an evaluator use fused kernels; whether its network can be traced for them."""
    with suppress(Exception):
        found.fuse()
        return True
    return False


def features(name: str, scope: str) -> dict[str, Tensor]:
    """Sampled inputs of every refitted layer, collected anew with the same sampled positions."""
    return _features(name, scope, least_squares.WIDEST)


@remembered
def _features(name: str, scope: str, widest: int) -> dict[str, Tensor]:
    model = copy.deepcopy(dense(name))
    generator = torch.Generator().manual_seed(SEED)
    rows: dict[str, list[Tensor]] = {}
    modules = dict(model.named_modules())
    for unit in reconstructed_units(network(name, scope)):
        modules[unit.name].register_forward_pre_hook(
            lambda module, args, kwargs, key=unit.name: rows.setdefault(key, []).append(
                sampled_inputs(module, args[0] if args else kwargs["input"], generator)
            ),
            with_kwargs=True,
        )
    with torch.no_grad():
        for pixels, _ in calibration_batches(name):
            model(pixels)
    return {key: torch.cat(parts) for key, parts in rows.items()}


def ridge_regression(x: Tensor, y: Tensor, ridge: Tensor) -> Tensor:
    """``(columns of x, columns of y)`` with a ridge for every column, by the smaller system, in float64."""
    if x.shape[0] < x.shape[1]:
        scaled = x / ridge
        return scaled.T @ torch.linalg.solve(x @ scaled.T + torch.eye(len(x), dtype=torch.float64), y)
    return torch.linalg.solve(x.T @ x + ridge.diag(), x.T @ y)


def refitted(rows: Tensor, unit: Unit, kept: NDArray[np.int64]) -> Tensor:
    """Direct ridge regression: weights ``(outputs, kept, kernel area)``."""
    x = rows.double()
    weight = unit.module.weight.detach().double()
    y = x @ weight.flatten(1).T
    columns = torch.from_numpy((kept[:, None] * unit.kernel_area + np.arange(unit.kernel_area)).ravel())
    ridge = least_squares.ridge((x**2).sum(0))[columns]
    x = x[:, columns]
    return ridge_regression(x, y, ridge).T.reshape(len(weight), len(kept), unit.kernel_area)


def recalibrated(found: Evaluator, name: str, counts: tuple[int, ...]) -> nn.Module:
    """The evaluator's network in float64, its batch norm recomputed once more in that precision."""
    model = found.build(counts).double()
    if counts != found.dense:
        pixels = batches(noise(name, CALIBRATION_IMAGES, 1).double(), BATCH, found.network.layout)
        recalibrate(model, found._small.norms, pixels)
    return model


def pruned(
    found: Evaluator, name: str, scope: str, counts: tuple[int, ...], reconstruction: str, dtype: torch.dtype
) -> nn.Module:
    """The dense network with the removed channels read by nobody, layers refitted, batch norm recomputed."""
    model = copy.deepcopy(dense(name))
    modules = dict(model.named_modules())
    rows = features(name, scope) if reconstruction in ("least-squares", "both") else {}
    for unit in found.network.units:
        kept = found.kept_inputs(unit, counts)
        if unit.mixes and len(kept) < len(unit.inputs.owner):
            modules[unit.name].weight = nn.Parameter(_without(unit, kept, rows.get(unit.name)))
    for shortcut in found.network.shortcuts:
        kept = shortcut.inputs.kept(counts, found._ranks)
        gone = np.setdiff1d(np.arange(shortcut.module.c_in), kept)
        modules[shortcut.name].register_forward_pre_hook(
            lambda _, args, gone=gone: (args[0].index_fill(1, torch.from_numpy(gone), 0.0),)
        )
    if reconstruction in ("batch-norm", "both") and counts != found.dense:
        _recompute_batch_norm(model.to(dtype), noise(name, CALIBRATION_IMAGES, 1).to(dtype))
    return model.to(dtype)


def _without(unit: Unit, kept: NDArray[np.int64], rows: Tensor | None) -> Tensor:
    """The unit's weight with zeros at removed inputs, the others refitted where ``rows`` of its inputs are given."""
    own = unit.module.weight.detach().view(*unit.module.weight.shape[:2], -1)
    weight = torch.zeros_like(own)
    weight[:, kept] = own[:, kept] if rows is None else refitted(rows, unit, kept).float()
    return weight.view_as(unit.module.weight)


def _recompute_batch_norm(model: nn.Module, pixels: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in pixels.split(BATCH):
            model(batch)
    for norm in norms:
        norm.eval()


def random_counts(found: PrunableNetwork, seed: int) -> tuple[int, ...]:
    """A policy: one layer in eight keeps all its channels, one in eight a single one."""
    rng = np.random.default_rng(seed)
    shares = np.clip(rng.uniform(-0.15, 1.15, len(found.channels)), 0, 1)
    return tuple(max(1, round(c * share)) for c, share in zip(found.channels, shares, strict=True))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a fraction of the largest output."""
    return float((ours - theirs).abs().max() / theirs.abs().max())

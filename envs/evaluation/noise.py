"""Evaluators for taking times: times do not depend on weights or images, so random bytes take the images' place."""

from __future__ import annotations

import numpy as np
import torch

from prunebench.envs.data.batches import Batches
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.evaluation.calibration import calibrate
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning.network import PrunableNetwork


def noise(network: PrunableNetwork, count: int, batch: int, seed: int = 0) -> Batches:
    """``count`` random images of the size that a network was traced with, in batches on its device; all of class 0."""
    generator, device = torch.Generator().manual_seed(seed), network.example.device
    pixels = torch.randint(256, (count, *network.example.shape[1:]), dtype=torch.uint8, generator=generator)
    labels = torch.zeros(count, dtype=torch.long)
    return Batches(pixels.to(device), labels, lambda raw: raw.float().sub_(128).div_(74), batch, device, network.layout)


def evaluator_on_noise(
    network: PrunableNetwork,
    calibration: Batches,
    reward: Batches,
    importance: str = "consumer-l1",
    least_squares: bool = True,
    recalibration: Batches | None = None,
    progress: Progress = silent,
) -> Evaluator:
    """The evaluator of a network of any weights, really calibrated, with one split for reward and test.

    Args:
        network: need not be trained.
        calibration: of :func:`noise`, as the other images.
        reward: to score policies on.
        importance: as in :func:`prunebench.envs.evaluation.calibration.calibrate`.
        least_squares: whether layers are refitted by least squares.
        recalibration: as in :class:`prunebench.envs.evaluation.evaluator.Evaluator`.
        progress: of the calibration.
    """
    found = calibrate(
        network, calibration, importance=importance, least_squares=least_squares, seed=0, progress=progress
    )
    return Evaluator(network, found, reward, lambda: reward, recalibration)


def random_policies(
    evaluator: Evaluator, count: int, cost: CostModel, preserve: float, lower_bound: float, round_to: int = 1
) -> list[tuple[int, ...]]:
    """Channel counts of random policies, projected on a budget (``preserve`` of the dense network's cost)."""
    channels = np.array(evaluator.dense)
    budget = Budget(cost, channels, lower_bound, preserve * cost(channels), round_to=round_to)
    ratios = np.random.default_rng(0).uniform(lower_bound, 1, (count, len(channels)))
    return [tuple(map(int, budget.project(policy))) for policy in ratios]


def score_seconds(evaluator: Evaluator, counts: tuple[int, ...]) -> tuple[float, float]:
    """Score channel counts; returns the seconds until the small network was built, and of its forward pass."""
    before = dict(evaluator.seconds)
    evaluator.score(counts)
    building, forward = (evaluator.seconds[part] - before[part] for part in ("reconstruction", "forward"))
    return building, forward

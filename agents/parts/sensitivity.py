"""Additive sensitivity: what pruning each layer alone adds to the loss, and the policy of the least sum of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from prunebench.envs.environment.budget import Budget, Counts, Ratios

HIGHEST_PROBE = 0.9
LEAST_SENSITIVITY = 0.2  # of the layers' mean: what no layer is taken to be below, however little it lost
STEPS = 32  # in which an allocation takes a layer from dense to its lower bound


def plan(budget: Budget, uniform: float, evaluations: int) -> tuple[list[NDArray[np.intp]], Ratios]:
    """Choose the probes: as many as fit so that one evaluation is left.

    Args:
        budget: gives layers and lower bound.
        uniform: the uniform policy's ratio.
        evaluations: their number in all; the dense network takes one.

    Returns:
        Blocks of layers, none where there are too few evaluations, and one or two ratios, ascending and below 1.
    """
    layers, probes = len(budget.channels), evaluations - 2
    if probes < 1:
        return [], np.empty(0)
    high = min(uniform, HIGHEST_PROBE)
    ratios = np.unique(np.maximum([high / 2, high], budget.lower_bound))
    if ratios[-1] >= 1:  # the lower bound leaves nothing to choose
        return [], np.empty(0)
    blocks: list[NDArray[np.intp]] = list(np.array_split(np.arange(layers), min(layers, probes)))
    return blocks, ratios if probes >= len(ratios) * layers else ratios[:1]


def probe(
    measure: Callable[[Ratios], float], blocks: Sequence[NDArray[np.intp]], ratios: Ratios, layers: int
) -> Ratios:
    """The loss ``(D, L)`` that each ratio of each layer adds to the dense network's; a block's is shared out evenly.

    Args:
        measure: gives the loss of a policy ``(D,)``, whatever it costs. What is not finite counts as twice the largest
            loss that was added elsewhere, and as 1 at least.
        blocks: layers that are pruned together.
        ratios: ``(L,)``, those measured at.
        layers: their number.
    """
    dense = measure(np.ones(layers))
    added = np.empty((layers, len(ratios)))
    for block in blocks:
        for level, ratio in enumerate(ratios):
            policy = np.ones(layers)
            policy[block] = ratio
            added[block, level] = (measure(policy) - dense) / len(block)
    known = added[np.isfinite(added)]
    return np.where(np.isfinite(added), added, 2 * max(known.max(), 0.5) if len(known) else 1.0)


def curve(added: Ratios, ratios: Ratios, at: Ratios, least: float = 0.0) -> Ratios:
    """One layer's added loss at the ratios ``at``, from what was measured at a few.

    Linear in 1 / ratio between the measured points and 0 at ratio 1, rising ever more steeply towards small ratios: its
    slopes are the isotonic regression of the measured ones. Beyond the smallest measured ratio it goes on as steeply.
    (Linear in the ratio itself, one or two points a layer make an allocation that leaves a layer dense or at its lower
    bound: docs/agents/greedy.md has the figures.)

    Args:
        added: ``(L,)``, the measured losses.
        ratios: ``(L,)``, those measured at, ascending, below 1.
        at: ratios, of any shape.
        least: the smallest slope over 1 / ratio.
    """
    knots, values = 1 / np.append(ratios, 1.0)[::-1], np.append(added, 0.0)[::-1]
    widths = np.diff(knots)
    slopes = np.maximum(isotonic_regression(np.diff(values) / widths, weights=widths).x, least)
    heights = np.append(0.0, np.cumsum(slopes * widths))
    return np.interp(1 / at, knots, heights) + np.maximum(1 / at - knots[-1], 0.0) * slopes[-1]


def curves(added: Ratios, ratios: Ratios, at: Ratios) -> Ratios:
    """Every layer's added loss ``(n, D)`` at the ratios ``at`` ``(n, D)``; no layer is taken to be insensitive.

    Args:
        added: ``(D, L)``, the measured losses.
        ratios: ``(L,)``, those measured at, ascending, below 1.
        at: ratios.
    """
    least = max(LEAST_SENSITIVITY * float(np.abs(added / (1 / ratios - 1)).mean()), 1e-9)  # 0 where nothing matters
    return np.stack([curve(row, ratios, at[:, i], least) for i, row in enumerate(added)], axis=1)


def allocate(budget: Budget, added: Ratios, ratios: Ratios) -> Counts:
    """The on-budget counts ``(D,)`` of about the least sum of added losses ``(D, L)``; see :func:`cheapest`."""
    return cheapest(budget, lambda at: curves(added, ratios, at))


def balanced(budget: Budget) -> Counts:
    """The on-budget counts ``(D,)`` of about the largest product of ratios: dear layers are pruned more, all to one
    share of the cost. What an allocation gives without any knowledge of the network but its costs.
    """
    return cheapest(budget, lambda at: -np.log(at))


def cheapest(budget: Budget, losses: Callable[[Ratios], Ratios]) -> Counts:
    """The on-budget counts ``(D,)`` of about the least sum of losses.

    From dense, again and again the step down that adds the least loss per cost saved, until the budget is met; for
    convex curves and a cost that is linear in the counts that is optimal up to one step. Then the budget is filled.

    Args:
        budget: to be met.
        losses: gives the losses of all layers ``(n, D)`` at ratios ``(n, D)``.
    """
    layers = np.arange(len(budget.channels))
    grid = np.linspace(budget.channels, budget.lower_counts, STEPS + 1)  # (steps, D), its ends exactly these counts
    heights = losses(budget.ratios(grid))
    place = np.zeros(len(layers), dtype=np.int64)
    while budget.cost(now := grid[place, layers]) > budget.limit:
        lower = np.minimum(place + 1, STEPS)
        saved = -budget.cost.change(now, grid[lower, layers] - now)
        worse = heights[lower, layers] - heights[place, layers]
        place[np.argmin(np.where(place < STEPS, worse / np.maximum(saved, 1e-9), np.inf))] += 1
    return budget.project(budget.ratios(now))

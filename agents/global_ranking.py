"""Control: all channels of the network ranked together by their normalised importance."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.agents.base import Agent, run_episode
from prunebench.envs.environment.budget import Budget, Counts


class GlobalRankingAgent(Agent):
    """One evaluation of the policy that keeps the most important channels of all layers together.

    A channel's importance is divided by the mean of its layer. From the dense network the least important channel is
    removed until the budget is met, but none below a layer's lower bound; then what still fits comes back, the most
    important first.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"deterministic", "may_stop_early"})
    most_evaluations: ClassVar[int | None] = 1

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run one episode, whatever ``evaluations`` allows."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        run_episode(env, budget.ratios(ranked(budget, info["layers"]["importance"])))


def ranked(budget: Budget, importance: Sequence[ArrayLike]) -> Counts:
    """The on-budget counts ``(D,)`` of the channels that are the most important ones for their layer.

    Args:
        budget: the budget.
        importance: of each layer's channels, in any order, 0 at least.
    """
    layers = removal(budget, importance)

    def left(removed: int) -> Counts:
        return budget.channels - budget.block * np.bincount(layers[:removed], minlength=len(budget.channels))

    removed = bisect_left(range(len(layers)), True, key=lambda number: budget.feasible(left(number)))
    counts, full = left(removed), np.zeros(len(budget.channels), dtype=bool)
    for layer in layers[:removed][::-1]:
        if not full[layer]:  # a block that did not fit never will: all others cost more by then
            counts[layer] += budget.block[layer]
            if not budget.feasible(counts):
                counts[layer] -= budget.block[layer]
                full[layer] = True
    return counts


def removal(budget: Budget, importance: Sequence[ArrayLike]) -> NDArray[np.int64]:
    """The layer that each block belongs to, of those above the lower bounds, the least important block first.

    A block's importance is the mean of its channels', which are the least important ones that are left.
    """
    scores, layers = [], []
    for layer, (values, lower) in enumerate(zip(importance, budget.lower_counts, strict=True)):
        ascending = np.sort(np.asarray(values, dtype=np.float64))
        blocks = ascending[: len(ascending) - lower].reshape(-1, budget.block[layer]).mean(axis=1)
        scores.append(blocks / max(ascending.mean(), np.finfo(float).tiny))
        layers.append(np.full(len(scores[-1]), layer))
    return np.concatenate(layers)[np.argsort(np.concatenate(scores), kind="stable")]

"""Control: additive sensitivity. Measures the loss that pruning each layer alone adds, and allocates the least sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from prunebench.agents.base import Agent, run_episode, run_probe
from prunebench.agents.parts.sensitivity import allocate, plan, probe
from prunebench.envs.environment.budget import Budget, Counts, Ratios

FIRST_EXCHANGE = 0.25  # of a layer's channels, at most
PATIENCE = 10  # exchanges in vain, after which they become half as large


class GreedyAgent(Agent):
    """Probes each layer alone, then gives every layer what the sum of the measured losses says is best.

    1. Probes, outside the budget and charged like every evaluation: the dense network; then all layers dense but one
       (or a block of neighbours, where there are fewer evaluations than layers), at half the uniform policy's ratio and
       (where there are evaluations for it) at that ratio.
    2. The policy on budget of the least predicted loss: what the probes added, summed over the layers.
    3. What evaluations are left: some channels of one layer are exchanged for some of another, both drawn at random; an
       exchange that scores better stays.

    Args:
        seed: the seed of the exchanges.
    """

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Probe, allocate, exchange; ``evaluations`` episodes in all."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        counts = budget.project(np.full(len(budget.channels), 0.5))
        blocks, ratios = plan(budget, float(np.mean(budget.ratios(counts))), evaluations)
        if blocks:
            counts = allocate(
                budget, probe(lambda policy: run_probe(env, policy)["loss"], blocks, ratios, len(counts)), ratios
            )
        probes = 1 + len(blocks) * len(ratios) if blocks else 0
        self._exchange(env, budget, counts, evaluations - probes)

    def _exchange(self, env: gymnasium.Env[Any, Any], budget: Budget, counts: Counts, evaluations: int) -> None:
        """Score ``counts`` and improve it; ``evaluations`` episodes."""
        rng = np.random.default_rng(self.seed)
        best, size, failures = _score(env, budget.ratios(counts)), FIRST_EXCHANGE, 0
        for _ in range(evaluations - 1):
            other = exchanged(budget, counts, size, rng)
            score = _score(env, budget.ratios(other))
            if score > best:
                counts, best, failures = other, score, 0
            else:
                failures += 1
            if failures == PATIENCE:
                size, failures = size / 2, 0


def exchanged(budget: Budget, counts: Counts, size: float, rng: np.random.Generator) -> Counts:
    """On-budget counts ``(D,)`` with up to ``size`` of one layer's channels less and of another's more."""
    ratios = budget.ratios(counts)
    giver, taker = rng.choice(len(counts), 2, replace=len(counts) == 1)
    change = rng.uniform(0, size)
    ratios[giver] -= change
    ratios[taker] += change
    return budget.project(np.clip(ratios, budget.lower_bound, 1.0))


def _score(env: gymnasium.Env[Any, Any], policy: Ratios) -> tuple[float, float]:
    """Reward, and of equal rewards the smaller loss first."""
    env.reset()
    evaluation: Mapping[str, Any] = run_episode(env, policy)
    return evaluation["reward"], -evaluation["loss"]

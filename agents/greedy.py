"""Control: additive sensitivity. Measures the loss that pruning each layer alone adds, and allocates the least sum."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np

from prunebench.agents.base import Agent, run_episode, run_probe
from prunebench.agents.parts.outcomes import Signal, check_signal, outcome
from prunebench.agents.parts.seen import PER_SIZE, Seen
from prunebench.agents.parts.sensitivity import allocate, plan, probe
from prunebench.envs.environment.budget import Budget, Counts

FIRST_EXCHANGE = 0.25  # of a layer's channels, at most
PATIENCE = 10  # exchanges in vain, after which they become half as large


class GreedyAgent(Agent):
    """Probes each layer alone, then gives every layer what the sum of the measured losses says is best.

    1. Probes, outside the budget and charged like every evaluation: the dense network; then all layers dense but one
       (or a block of neighbours, where there are fewer evaluations than layers), at half the uniform policy's ratio and
       (where there are evaluations for it) at that ratio.
    2. The policy on budget of the least predicted loss: what the probes added, summed over the layers.
    3. What evaluations are left: some channels of one layer are exchanged for some of another, both drawn at random; an
       exchange that scores better stays. No policy is asked for twice.

    Args:
        seed: the seed of the exchanges.
        signal: what exchanges are judged by, see :func:`prunebench.agents.parts.outcomes.outcome`.
        preset: ``current``; or ``first``, the control of the first reference study: exchanges are judged by the reward,
            may be of less than a channel, and may give a policy that was evaluated before.
    """

    def __init__(self, *, seed: int, signal: Signal = "loss", preset: Literal["current", "first"] = "current") -> None:
        super().__init__(seed=seed)
        check_signal(signal)
        if preset not in ("current", "first"):
            raise ValueError(f"preset {preset!r}: expected one of current, first")
        self.first = preset == "first"
        self.signal: Signal = "reward" if self.first else signal

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Probe, allocate, exchange; ``evaluations`` episodes in all."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        counts = budget.uniform()
        blocks, ratios = plan(budget, float(np.mean(budget.ratios(counts))), evaluations)
        if blocks:
            added = probe(lambda policy: run_probe(env, policy)["loss"], blocks, ratios, len(counts))
            counts = allocate(budget, added, ratios)
        probes = 1 + len(blocks) * len(ratios) if blocks else 0
        self._exchange(env, budget, counts, evaluations - probes)

    def _exchange(self, env: gymnasium.Env[Any, Any], budget: Budget, counts: Counts, evaluations: int) -> None:
        """Score ``counts`` and improve it; ``evaluations`` episodes."""
        rng = np.random.default_rng(self.seed)
        seen = Seen(budget, rng)
        best, size, failures = self._score(env, budget, counts, seen), FIRST_EXCHANGE, 0
        for _ in range(evaluations - 1):
            other = self._other(budget, counts, size, seen, rng)
            score = self._score(env, budget, other, seen)
            if score > best:
                counts, best, failures = other, score, 0
            else:
                failures += 1
            if failures == PATIENCE:
                size, failures = size / 2, 0

    def _other(self, budget: Budget, counts: Counts, size: float, seen: Seen, rng: np.random.Generator) -> Counts:
        if self.first:
            return exchanged(budget, counts, size, 0, rng)
        return seen.first(lambda tries: exchanged(budget, counts, size, 1 + tries // PER_SIZE, rng))

    def _score(self, env: gymnasium.Env[Any, Any], budget: Budget, counts: Counts, seen: Seen) -> tuple[float, float]:
        """The signal, and of equals the smaller loss first."""
        env.reset()
        evaluation = run_episode(env, budget.ratios(counts))
        seen.add(evaluation["channels"])
        return outcome(evaluation, self.signal), outcome(evaluation, "loss")


def exchanged(budget: Budget, counts: Counts, size: float, least: int, rng: np.random.Generator) -> Counts:
    """On-budget counts ``(D,)`` with up to ``size`` of one layer's channels less and of another's more.

    At least ``least`` blocks of either. Where the reward weighs the cost, which then need not stay as it is, either
    layer gets more or less by chance.
    """
    ratios = budget.ratios(counts)
    pair = rng.choice(len(counts), 2, replace=len(counts) == 1)
    change = np.maximum(rng.uniform(0, size), least * budget.block[pair] / budget.channels[pair])
    np.add.at(ratios, pair, change * ([-1, 1] if budget.fill else rng.choice([-1, 1], 2)))  # in one layer they add up
    return budget.project(np.clip(ratios, budget.lower_bound, 1.0))

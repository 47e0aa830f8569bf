"""Baseline: SPDY, a knapsack over layers whose weights are searched (Frantar and Alistarh, arXiv 2201.13096)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.agents.base import GeneratorAgent, run_probe
from prunebench.agents.parts.sensitivity import curves, plan, probe
from prunebench.envs.environment.budget import Budget, Counts, Ratios

LEVELS = 32  # of a layer, from its lower bound to dense
BUCKETS = 1000  # that the cost between the lower bounds and the budget is counted in
ROUNDS = 3  # of making the cost additive, each around the policy that the one before has found
RANDOM = 10  # one in so many evaluations after the probes is of random coefficients
RESAMPLED = 0.1  # of the coefficients, at first
DRAWS = 10  # of coefficients whose policies are all known, before a policy near the last one is taken


class SPDYAgent(GeneratorAgent):
    """Probes each layer, then weights the layers' losses: for each choice of weights the best policy is evaluated.

    1. Probes, as :class:`prunebench.agents.greedy.GreedyAgent` makes them.
    2. The policy on budget of the least sum of added losses, found by dynamic programming.
    3. The layers' losses are multiplied by coefficients in [0, 1]: random ones first, then the best ones with some of
       them drawn anew, ever fewer. The policy of the least weighted sum is evaluated; better coefficients stay.

    Args:
        seed: the seed of the coefficients.
        signal: what is better, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Probe, then evaluate the policies of coefficients; ``evaluations`` episodes in all."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        layers = len(budget.channels)
        uniform = float(np.mean(budget.ratios(budget.uniform())))
        blocks, self._ratios = plan(budget, uniform, evaluations)
        if blocks:
            self._added = probe(lambda policy: float(run_probe(env, policy)["loss"]), blocks, self._ratios, layers)
            evaluations -= 1 + len(blocks) * len(self._ratios)
        else:  # nothing is known: all layers are alike
            self._ratios, self._added = np.array([0.5]), np.ones((layers, 1))
        super().search(env, evaluations)

    def policies(self, info: Mapping[str, Any], evaluations: int) -> Generator[Counts, float, None]:
        """The policy of equal coefficients, those of random ones, and those near the best."""
        allocation = Allocation(self.budget, self._added, self._ratios)
        best = np.append(np.full(len(self.budget.channels), 0.5), 1.0)
        at = allocation.best(best, self.budget.uniform())
        score = yield at
        schedule = Schedule(len(best) - self.budget.fill, evaluations - 1)
        while True:
            coefficients, counts = self._other(allocation, best, at, schedule.resampled)
            evaluated = self.seen.unseen(counts)
            answer = yield evaluated
            better = answer > score and bool((evaluated == counts).all())
            if better:
                best, at, score = coefficients, counts, answer
            schedule.count(better)

    def _other(self, allocation: Allocation, best: Ratios, at: Counts, resampled: int) -> tuple[Ratios, Counts]:
        """Coefficients ``(D + 1,)`` with some of ``best`` drawn anew, and their policy; new if a few draws find one."""
        free = len(best) - self.budget.fill  # the last one, how much is spent, is free where not all need be
        for _ in range(DRAWS):
            coefficients = best.copy()
            drawn = self.rng.integers(free, size=resampled) if resampled < free else np.arange(free)
            coefficients[drawn] = self.rng.uniform(size=len(drawn))
            counts = allocation.best(coefficients, at)
            if counts not in self.seen:
                break
        return coefficients, counts


class Schedule:
    """How many coefficients to draw anew: all of them at first, then a tenth, and one less after failures in a row.

    Args:
        layers: the number of coefficients.
        evaluations: how many are left.
    """

    def __init__(self, layers: int, evaluations: int) -> None:
        self._random, self._layers = evaluations // RANDOM, layers
        self._resampled, self._failures = max(1, round(RESAMPLED * layers)), 0
        self._patience = max(1, (evaluations - self._random) // (2 * self._resampled))

    @property
    def resampled(self) -> int:
        """How many to draw anew now."""
        return self._layers if self._random else self._resampled

    def count(self, better: bool) -> None:
        """Count one evaluation."""
        if self._random:
            self._random -= 1
            return
        self._failures = 0 if better else self._failures + 1
        if self._failures == self._patience:
            self._resampled, self._failures = max(1, self._resampled - 1), 0


class Allocation:
    """The policy of the least weighted sum of added losses on the budget.

    Args:
        budget: the budget.
        added: ``(D, L)``, the loss that each ratio of each layer adds.
        ratios: ``(L,)``, those measured at, ascending, below 1.
    """

    def __init__(self, budget: Budget, added: Ratios, ratios: Ratios) -> None:
        self._budget = budget
        levels = np.linspace(budget.lower_counts, budget.channels, LEVELS).round()
        self._levels = np.maximum(budget.counts(budget.ratios(levels)), budget.lower_counts)
        self._losses = curves(added, ratios, budget.ratios(self._levels))

    def best(self, coefficients: Ratios, around: Counts) -> Counts:
        """On-budget counts ``(D,)``.

        The cost, a sum of products of layers' counts, is made additive around a policy; the knapsack's answer is put on
        budget, and the cost is made additive around that, a few times. The best of these policies counts.

        Args:
            coefficients: ``(D + 1,)``, by which the layers' losses are multiplied, not negative; then how much of the
                budget is spent: 0 keeps all layers at their lower bounds, 1 is all of it.
            around: ``(D,)``, the first policy to do so.
        """
        losses, found, budget = self._losses * coefficients[:-1], [around], self._spending(float(coefficients[-1]))
        while len(found) <= ROUNDS and (len(found) < 3 or (found[-1] != found[-2]).any()):
            found.append(self._answer(losses, found[-1], budget))
        return min(found[1:], key=lambda counts: self._sum(losses, counts))

    def _spending(self, share: float) -> Budget:
        least = float(self._budget.cost(self._budget.lower_counts))
        limit = least + share * (self._budget.limit - least)
        return self._budget if share == 1 else replace(self._budget, limit=max(limit, least))

    def _answer(self, losses: Ratios, around: Counts, budget: Budget) -> Counts:
        """The knapsack's for the cost as it is around ``around``, on ``budget``."""
        costs, room = self.additive(around, budget.limit)
        buckets = np.minimum(np.round(costs * (BUCKETS / max(room, 1e-9))), BUCKETS + 1).astype(np.int64)
        chosen = knapsack(losses.T, buckets.T, BUCKETS)
        return budget.project(budget.ratios(np.take_along_axis(self._levels, chosen[None], axis=0)[0]))

    def additive(self, around: Counts, limit: float) -> tuple[Ratios, float]:
        """What the levels cost above their layers' lowest ones ``(levels, D)``, all other layers as in ``around``.

        And what may be spent on them: in this cost the lowest levels of all layers are never above the budget.
        """
        change = self._budget.cost.change(around, self._levels - around)
        return change - change[0], limit - float(self._budget.cost(around)) - float(change[0].sum())

    def _sum(self, losses: Ratios, counts: Counts) -> float:
        """The sum of losses ``(levels, D)`` at any ``counts`` ``(D,)``."""
        return sum(
            float(np.interp(n, levels, loss)) for n, levels, loss in zip(counts, self._levels.T, losses.T, strict=True)
        )


def knapsack(losses: ArrayLike, costs: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Choose a level of each layer: exactly the least sum of losses whose sum of costs is at most the capacity.

    Args:
        losses: ``(D, levels)``.
        costs: ``(D, levels)``, whole numbers from 0; each layer has a level that costs 0.
        capacity: the largest sum of costs.

    Returns:
        The levels chosen ``(D,)``.
    """
    spent = np.arange(capacity + 1)
    least, choices = np.zeros(capacity + 1), []
    for loss, cost in zip(np.asarray(losses), costs, strict=True):
        before = spent - cost[:, None]
        sums = np.where(before >= 0, least[np.maximum(before, 0)] + loss[:, None], np.inf)
        choices.append(sums.argmin(axis=0))
        least = sums.min(axis=0)
    left, chosen = capacity, []
    for choice, cost in zip(reversed(choices), costs[::-1], strict=True):
        chosen.append(choice[left])
        left -= cost[chosen[-1]]
    return np.array(chosen[::-1])

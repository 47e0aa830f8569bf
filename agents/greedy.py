"""Control: additive sensitivity. Measures the loss that pruning each layer alone adds, and allocates the least sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from prunebench.agents.base import Agent, run_episode
from prunebench.agents.parts.outcomes import Signal, check_signal, outcome
from prunebench.agents.parts.seen import PER_SIZE, Seen
from prunebench.envs.environment.budget import Budget, Counts, Ratios

HIGHEST_PROBE = 0.9
LEAST_SENSITIVITY = 0.2  # of the layers' mean: what no layer is taken to be below, however little it lost
STEPS = 32  # in which an allocation takes a layer from dense to its lower bound
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
        counts = budget.project(np.full(len(budget.channels), 0.5))
        blocks, ratios = plan(budget, float(np.mean(budget.ratios(counts))), evaluations)
        if blocks:
            counts = allocate(budget, probe(env, blocks, ratios, len(counts)), ratios)
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


def probe(env: gymnasium.Env[Any, Any], blocks: Sequence[NDArray[np.intp]], ratios: Ratios, layers: int) -> Ratios:
    """The loss ``(D, L)`` that each ratio of each layer adds to the dense network's; a block's is shared out evenly."""
    dense = _probe_one(env, np.ones(layers))
    added = np.empty((layers, len(ratios)))
    for block in blocks:
        for level, ratio in enumerate(ratios):
            policy = np.ones(layers)
            policy[block] = ratio
            added[block, level] = (_probe_one(env, policy) - dense) / len(block)
    return added


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


def allocate(budget: Budget, added: Ratios, ratios: Ratios) -> Counts:
    """The on-budget counts ``(D,)`` of about the least sum of added losses ``(D, L)``.

    From dense, again and again the step down that adds the least loss per cost saved, until the budget is met; for
    convex curves and a cost that is linear in the counts that is optimal up to one step. Then the budget is filled.
    """
    lowest = budget.ratios(budget.lower_counts)
    grid = np.linspace(np.ones(len(added)), lowest, STEPS + 1)  # (steps, D), its last row exactly the lower bound
    least = max(LEAST_SENSITIVITY * float(np.abs(added / (1 / ratios - 1)).mean()), 1e-9)  # 0 where nothing matters
    losses = np.stack([curve(row, ratios, grid[:, i], least) for i, row in enumerate(added)], axis=1)
    layers = np.arange(len(added))
    place = np.zeros(len(added), dtype=np.int64)
    while budget.cost(now := grid[place, layers] * budget.channels) > budget.limit:
        lower = np.minimum(place + 1, STEPS)
        trials = np.where(np.eye(len(added), dtype=bool), grid[lower, layers] * budget.channels, now)
        saved = budget.cost(now) - budget.cost(trials)
        worse = losses[lower, layers] - losses[place, layers]
        place[np.argmin(np.where(place < STEPS, worse / np.maximum(saved, 1e-9), np.inf))] += 1
    return budget.project(grid[place, layers])


def exchanged(budget: Budget, counts: Counts, size: float, least: int, rng: np.random.Generator) -> Counts:
    """On-budget counts ``(D,)`` with up to ``size`` of one layer's channels less and of another's more.

    At least ``least`` channels of either.
    """
    ratios = budget.ratios(counts)
    pair = rng.choice(len(counts), 2, replace=len(counts) == 1)
    change = np.maximum(rng.uniform(0, size), least / budget.channels[pair])
    ratios[pair] += change * [-1, 1]
    return budget.project(np.clip(ratios, budget.lower_bound, 1.0))


def _probe_one(env: gymnasium.Env[Any, Any], policy: Ratios) -> float:
    env.reset(options={"budget": "none"})
    return float(run_episode(env, policy)["loss"])

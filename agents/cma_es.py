"""Baseline: CMA-ES, the covariance matrix adaptation evolution strategy (Hansen 2016, arXiv 1604.00772)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from prunebench.agents.base import SignalAgent
from prunebench.agents.parts.outcomes import outcome
from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget

SIGMA = 0.1  # measured, for runs of a few generations: docs/agents/cmaes.md


class CMAESAgent(SignalAgent):
    """The ``cmaes`` library's CMA-ES on preserve ratios, each policy projected onto the budget before it is run.

    The strategy is told the ratios that it asked for, not those that came of them: its paths and its
    step size rest on points drawn from its own distribution. It starts at the uniform policy on budget;
    when the library finds it converged it starts again at a random policy, with twice the population
    (IPOP: Auger and Hansen, CEC 2005).

    Args:
        seed: the seed of everything random.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Start at the uniform policy on budget, with the library's population: 4 + 3 ln D, rounded down."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng(self.seed)
        self._seen = Seen(self._budget, self._rng)
        self._generation: list[tuple[NDArray[np.float64], float]] = []
        self._strategy = self._around(np.full(len(self._budget.channels), 0.5), None)

    def ask(self) -> NDArray[np.float64]:
        """The next member ``(D,)`` of the generation, on budget, or in a known policy's place one near it."""
        self._asked = self._strategy.ask()
        return self._budget.ratios(self._seen.unseen(self._budget.project(self._asked)))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the member; after the generation's last one tell them all."""
        self._seen.add(evaluation["channels"])
        self._generation.append((self._asked, -outcome(evaluation, self.signal)))
        if len(self._generation) < self._strategy.population_size:
            return
        self._strategy.tell(self._generation)
        self._generation = []
        if self._strategy.should_stop():
            random = self._rng.uniform(self._budget.lower_bound, 1.0, len(self._budget.channels))
            self._strategy = self._around(random, 2 * self._strategy.population_size)

    def _around(self, policy: NDArray[np.float64], population: int | None) -> CMA:
        """A new strategy that starts at ``policy`` ``(D,)`` shifted onto the budget."""
        low, high = self._budget.lower_bound, 1.0
        return CMA(
            mean=np.clip(self._budget.shift(policy), low, high),  # a channel's rounding may lie below the bound
            sigma=SIGMA,
            bounds=np.tile([low, high], (len(policy), 1)),
            seed=int(self._rng.integers(2**31)),
            population_size=population,
        )

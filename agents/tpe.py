"""Baseline: the tree-structured Parzen estimator (Bergstra et al. 2011; multivariate: Falkner et al. 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution

from prunebench.agents.base import SignalAgent
from prunebench.agents.parts.outcomes import outcome
from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget


class TPEAgent(SignalAgent):
    """Optuna's ``TPESampler``, multivariate, one parameter per layer; policies are projected onto the budget.

    The first evaluations are random policies: 10, but no more than a fifth of the run's and no fewer than 3. As in
    :class:`prunebench.agents.cma_es.CMAESAgent` the sampler is told the ratios that it asked for.

    Args:
        seed: the seed of everything random.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Make a study in memory."""
        self._budget = Budget.from_info(info)
        self._seen = Seen(self._budget, np.random.default_rng(self.seed))
        layers = range(len(self._budget.channels))
        self._ratios: dict[str, BaseDistribution] = {
            f"layer{i}": FloatDistribution(self._budget.lower_bound, 1.0) for i in layers
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study announces itself on stderr
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate, before version 5
            sampler = optuna.samplers.TPESampler(
                seed=self.seed, multivariate=True, n_startup_trials=min(10, max(3, evaluations // 5))
            )
        self._study = optuna.create_study(sampler=sampler, direction="maximize")

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``, on budget, or in a known one's place one near it."""
        self._trial = self._study.ask(self._ratios)
        asked = np.array([self._trial.params[name] for name in self._ratios])
        return self._budget.ratios(self._seen.unseen(self._budget.project(asked)))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Tell the outcome of the ratios asked for last."""
        self._seen.add(evaluation["channels"])
        self._study.tell(self._trial, outcome(evaluation, self.signal))

"""Vanilla Bayesian optimisation in full dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from botorch.models import SingleTaskGP
from numpy.typing import NDArray

from prunebench.agents.base import AskTellAgent
from prunebench.agents.parts.outcomes import Signal, check_signal, outcome
from prunebench.agents.parts.proposal import PolicySpace, propose, propose_in_box
from prunebench.agents.parts.surrogate import PRESETS, PresetName, Surrogate, tolerant
from prunebench.envs.environment.budget import Budget

INCUMBENTS = 5  # candidates are drawn around this many of the best points


class BOAgent(AskTellAgent):
    """A Gaussian process predicts the reward of a policy; the next policy is where improvement is most expected.

    Args:
        seed: the seed of the initial design and the candidates.
        preset: ``modern`` (BoTorch's current default model, proposals on budget), ``botorch2021`` (its default of
            2021 in its place) or ``gpyopt2021`` (what the paper compared against: GPyOpt's, proposals in the box).
        initial: evaluations of the initial design (scrambled Sobol, shifted onto the budget). Default: 10, but no more
            than a fifth of the run's evaluations and no fewer than 3.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(
        self, *, seed: int, preset: PresetName = "modern", initial: int | None = None, signal: Signal = "reward"
    ) -> None:
        super().__init__(seed=seed)
        check_signal(signal)
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
        if initial is not None and initial < 1:
            raise ValueError(f"initial {initial}: expected at least 1 evaluation")
        self.preset = PRESETS[preset]
        self.initial = initial
        self.signal = signal

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Lay out the initial design; nothing is fitted before it is used up."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng(self.seed)
        self._requested: list[list[float]] = []
        self._realised: list[list[float]] = []
        self._outcomes: list[float] = []
        self._design: list[NDArray[np.float64]] = []
        self._enter(PolicySpace(self._budget, self._first_labels(info), self._budget.lower_bound, 1.0))
        initial = min(self.initial or min(10, max(3, evaluations // 5)), evaluations)
        points = self._space.sobol(initial, self.seed)
        if self.preset.on_budget:
            points = self._space.on_budget(points)
        self._design.extend(self._policy(point) for point in points)

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``."""
        number = len(self._outcomes)
        if number < len(self._design):
            return self._design[number]
        with tolerant():
            return self._policy(self._best_candidate(self._fit()))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the policy and its outcome."""
        self._requested.append(evaluation["requested"])
        self._realised.append(evaluation["realised"])
        self._outcomes.append(outcome(evaluation, self.signal))

    def _first_labels(self, info: Mapping[str, Any]) -> NDArray[np.int64]:
        """The cluster of each layer ``(D,)`` to begin with: here every layer is one of its own."""
        return np.arange(len(self._budget.channels))

    def _enter(self, space: PolicySpace) -> None:
        """Search ``space`` from now on. A model of other dimensions is of no use to it."""
        self._space = space
        self._design.clear()  # what is left of it was laid out in another space
        self._surrogate = Surrogate(self.preset, self._rng)

    def _inputs(self) -> NDArray[np.float64]:
        """The inputs ``(n, k)`` of the Gaussian process: a row for each evaluation so far."""
        return np.array(self._realised if self.preset.on_budget else self._requested)

    def _fit(self) -> SingleTaskGP:
        return self._surrogate.fit(self._inputs(), self._outcomes)

    def _best_candidate(self, model: SingleTaskGP) -> NDArray[np.float64]:
        if not self.preset.on_budget:
            return propose_in_box(model, self._space, self.preset.jitter, int(self._rng.integers(2**31)))
        best = np.argsort(-np.array(self._outcomes), kind="stable")[:INCUMBENTS]
        return propose(model, self._space, self._inputs()[best], self._rng)

    def _policy(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """The policy to run for a point ``(k,)`` of the space: where it is on budget, in whole channels, filled."""
        policy = self._space.expand(point)
        return self._budget.ratios(self._budget.project(policy)) if self.preset.on_budget else policy

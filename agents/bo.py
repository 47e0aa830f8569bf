"""Vanilla Bayesian optimisation in full dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from botorch.models import SingleTaskGP
from numpy.typing import NDArray

from prunebench.agents.base import SignalAgent
from prunebench.agents.parts.outcomes import Signal, outcome, published
from prunebench.agents.parts.proposal import PolicySpace, propose, propose_in_box
from prunebench.agents.parts.seen import TRIES, Seen
from prunebench.agents.parts.surrogate import PRESETS, PresetName, Surrogate, tolerant
from prunebench.envs.environment.budget import Budget, Ratios

INCUMBENTS = 5  # candidates are drawn around this many of the best points


class BOAgent(SignalAgent):
    """A Gaussian process predicts the reward of a policy; the next policy is where improvement is most expected.

    Args:
        seed: the seed of the initial design and the candidates.
        preset: ``modern`` (BoTorch's current default model, proposals on budget), ``botorch2021`` (its default of
            2021 in its place) or ``gpyopt2021`` (what the paper compared against: GPyOpt's, proposals in the box).
        initial: evaluations of the initial design (scrambled Sobol, shifted onto the budget; with ``gpyopt2021`` the
            plain sequence in the box, the same for every seed). Default: 10, but no more than a fifth of the run's
            evaluations and no fewer than 3.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`. Default: the loss, but with
            ``gpyopt2021`` the reward, as published.
    """

    def __init__(
        self, *, seed: int, preset: PresetName = "modern", initial: int | None = None, signal: Signal | None = None
    ) -> None:
        super().__init__(seed=seed, signal=published(signal, preset == "gpyopt2021"))
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
        if initial is not None and initial < 1:
            raise ValueError(f"initial {initial}: expected at least 1 evaluation")
        self.preset = PRESETS[preset]
        self.initial = initial

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Lay out the initial design; nothing is fitted before it is used up."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng(self.seed)
        self._requested: list[list[float]] = []
        self._realised: list[list[float]] = []
        self._outcomes: list[float] = []
        self._design: Ratios = np.empty((0, 0))
        self._seen = Seen(self._budget, self._rng)
        self._enter(PolicySpace(self._budget, self._first_labels(info), self._budget.lower_bound, 1.0))
        initial = min(self.initial or min(10, max(3, evaluations // 5)), evaluations)
        on_budget = self.preset.on_budget
        points = self._space.sobol(initial, self.seed if on_budget else None)
        self._design = self._space.on_budget(points) if on_budget else points
        alike = not on_budget and initial == evaluations
        self.notes = {"remarks": [f"all {initial} evaluations are the initial design: alike for all seeds"] * alike}

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``."""
        number = len(self._outcomes)
        if number < len(self._design):
            return self._first_new(self._design[number : number + 1])
        with tolerant():
            return self._first_new(self._candidates(self._fit()))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the policy and its outcome."""
        self._requested.append(evaluation["requested"])
        self._realised.append(evaluation["realised"])
        self._outcomes.append(outcome(evaluation, self.signal))
        self._seen.add(evaluation["channels"])

    def _first_labels(self, info: Mapping[str, Any]) -> NDArray[np.int64]:
        """The cluster of each layer ``(D,)`` to begin with: here every layer is one of its own."""
        return np.arange(len(self._budget.channels))

    def _enter(self, space: PolicySpace) -> None:
        """Search ``space`` from now on. A model of other dimensions is of no use to it."""
        self._space = space
        self._design = self._design[:0]  # what is left of it was laid out in another space
        self._surrogate = Surrogate(self.preset, self._rng)

    def _inputs(self) -> NDArray[np.float64]:
        """The inputs ``(n, k)`` of the Gaussian process: a row for each evaluation so far."""
        return np.array(self._realised if self.preset.on_budget else self._requested)

    def _fit(self) -> SingleTaskGP:
        return self._surrogate.fit(self._inputs(), self._outcomes)

    def _candidates(self, model: SingleTaskGP) -> Ratios:
        """Points ``(m, k)`` of the space, the best one first."""
        if not self.preset.on_budget:
            return propose_in_box(model, self._space, self.preset.jitter, self._rng)[None]
        best = np.argsort(-np.array(self._outcomes), kind="stable")[:INCUMBENTS]
        return propose(model, self._space, self._inputs()[best], self._rng)

    def _first_new(self, points: Ratios) -> NDArray[np.float64]:
        """The policy ``(D,)`` of the first of ``points`` ``(m, k)`` that is none of the run's, or one near the first's.

        In the box it is the first's: GPyOpt asks for other points, not for other policies.
        """
        first = self._policy(points[0])
        if not self.preset.on_budget or not self._seen.repeats(first):
            return first
        for point in points[1:TRIES]:
            if not self._seen.repeats(policy := self._policy(point)):
                return policy
        return self._budget.ratios(self._seen.unseen(self._budget.project(first)))

    def _policy(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """The policy to run for a point ``(k,)`` of the space: where it is on budget, in whole channels, filled."""
        policy = self._space.expand(point)
        return self._budget.ratios(self._budget.project(policy)) if self.preset.on_budget else policy

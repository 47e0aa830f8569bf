"""Baseline: TuRBO-1, Bayesian optimisation in a trust region (Eriksson et al., NeurIPS 2019, arXiv 1910.01739)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.generation.sampling import MaxPosteriorSampling
from botorch.models import SingleTaskGP
from botorch.utils.sampling import manual_seed
from gpytorch import settings
from gpytorch.constraints import Interval
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from prunebench.agents.base import SignalAgent
from prunebench.agents.parts.outcomes import outcome
from prunebench.agents.parts.proposal import PolicySpace
from prunebench.agents.parts.seen import Seen
from prunebench.agents.parts.surrogate import Preset, Surrogate, tolerant
from prunebench.envs.environment.budget import Budget, Ratios

LENGTH, SHORTEST, LONGEST = 0.8, 0.5**7, 1.6
SUCCESSES = 3  # in a row double the length
IMPROVEMENT = 1e-3  # a success is better than the best so far by this fraction of it
PERTURBED = 20  # coordinates of a candidate differ from the centre's, on average
CANDIDATES, DRAWS = 1000, 8


@dataclass
class TrustRegion:
    """The region around the best policy to look in: the published counters, for batches of one.

    Attributes:
        tolerance: number of failures in a row that halves the length.
        length: length of the region's sides before they are weighted, in units of the box.
        successes: number of successes in a row so far.
        failures: number of failures in a row so far.
    """

    tolerance: int
    length: float = LENGTH
    successes: int = 0
    failures: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether the region is too small to go on."""
        return self.length < SHORTEST

    def update(self, reward: float, best: float) -> None:
        """Count one evaluation; ``best`` is the best reward before it."""
        success = reward > best + IMPROVEMENT * abs(best)
        self.successes = self.successes + 1 if success else 0
        self.failures = 0 if success else self.failures + 1
        if self.successes == SUCCESSES:
            self.length, self.successes = min(2 * self.length, LONGEST), 0
        elif self.failures == self.tolerance:
            self.length, self.failures = self.length / 2, 0

    def candidates(
        self, centre: NDArray[np.float64], lengthscales: NDArray[np.float64], sobol: Ratios, rng: np.random.Generator
    ) -> Ratios:
        """Perturbations ``(n, D)`` of ``centre`` ``(D,)`` inside the region, from ``sobol`` ``(n, D)``; all in [0, 1].

        The sides are proportional to the ``lengthscales`` ``(D,)``, their product is ``length ** D``.
        """
        half = self.length / 2 * lengthscales / np.exp(np.log(lengthscales).mean())
        low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
        moves = rng.random(sobol.shape) <= PERTURBED / len(centre)
        still = np.flatnonzero(~moves.any(axis=1))
        moves[still, rng.integers(len(centre), size=len(still))] = True
        return np.where(moves, low + (high - low) * sobol, centre)


def trust_region_model(x: Tensor, y: Tensor) -> SingleTaskGP:
    """Matern-5/2 with a lengthscale per dimension, no priors.

    Lengthscales and noise are bounded as in BoTorch's TuRBO tutorial, the output scale as in the authors' code.
    """
    matern = MaternKernel(nu=2.5, ard_num_dims=x.shape[1], lengthscale_constraint=Interval(0.005, 4.0))
    return SingleTaskGP(
        x,
        y,
        likelihood=GaussianLikelihood(noise_constraint=Interval(1e-8, 1e-3)),
        covar_module=ScaleKernel(matern, outputscale_constraint=Interval(0.05, 20.0)),
        outcome_transform=None,
    )


class TuRBOAgent(SignalAgent):
    """Thompson sampling in one trust region around the best policy since the last restart.

    Every start has an initial design: 10 evaluations, but no more than a fifth of the run's and no fewer than 3. The
    region is halved after as many failures as layers, but no more than a tenth of the run's evaluations and no fewer
    than 4.

    Args:
        seed: the seed of everything random.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Lay out the first start's initial design."""
        self._budget = Budget.from_info(info)
        self._space = PolicySpace(self._budget, np.arange(len(self._budget.channels)), self._budget.lower_bound, 1.0)
        self._rng = np.random.default_rng(self.seed)
        self._initial = min(10, max(3, evaluations // 5))
        self._tolerance = max(4, min(self._space.dimensions, evaluations // 10))
        self._seen = Seen(self._budget, self._rng)
        self._restart()

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``, where there is one none that was evaluated before.

        Where all draws are such policies, the region is smaller than a channel: it ends there.
        """
        if len(self._outcomes) >= self._initial:
            for winner in self._winners():
                counts = self._budget.project(winner)
                if counts not in self._seen:
                    return self._budget.ratios(counts)
            self._restart()
        wanted = self._budget.project(self._design[len(self._outcomes)])
        return self._budget.ratios(self._seen.unseen(wanted))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the policy and its outcome; resize the region, or start afresh where it is exhausted."""
        value = outcome(evaluation, self.signal)
        if len(self._outcomes) >= self._initial:
            self._region.update(value, max(self._outcomes))
        self._seen.add(evaluation["channels"])
        self._realised.append(evaluation["realised"])
        self._outcomes.append(value)
        if self._region.exhausted:
            self._restart()

    def _restart(self) -> None:
        """Forget all policies (but not that they were evaluated) and the model."""
        self._region = TrustRegion(self._tolerance)
        self._surrogate = Surrogate(Preset(trust_region_model), self._rng)
        self._realised: list[list[float]] = []
        self._outcomes: list[float] = []
        self._design = self._space.on_budget(self._sobol(self._initial))

    def _sobol(self, n: int) -> Ratios:
        return self._space.sobol(n, int(self._rng.integers(2**31)))

    def _unit(self, ratios: ArrayLike) -> NDArray[np.float64]:
        """Ratios ``(..., D)`` as places in [low, high]; by rounding a realised ratio may lie below."""
        low, high = self._space.low, self._space.high
        return np.clip((np.asarray(ratios) - low) / max(high - low, 1e-12), 0, 1)

    def _winners(self) -> Ratios:
        """``(DRAWS, D)``: the best on-budget candidate under each of so many draws from the posterior."""
        inputs, rng = self._unit(self._realised), self._rng
        with tolerant(), settings.max_cholesky_size(10**6):  # exact draws
            model = self._surrogate.fit(inputs, self._outcomes)
            scales = model.covar_module.base_kernel.lengthscale.detach().numpy()[0]
            centre = inputs[int(np.argmax(self._outcomes))]
            places = self._region.candidates(centre, scales, self._unit(self._sobol(CANDIDATES)), rng)
            points = self._space.on_budget(self._space.low + (self._space.high - self._space.low) * places)
            sampling = MaxPosteriorSampling(model, replacement=False)
            with torch.no_grad(), manual_seed(int(rng.integers(2**31))):
                won = sampling(torch.as_tensor(self._unit(points)), num_samples=DRAWS).numpy()
        return self._space.low + (self._space.high - self._space.low) * won

"""Proposes policies for BO agents: initial designs, and the best of an acquisition, on budget or in the whole box."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition.analytic import AnalyticAcquisitionFunction, ExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.optim.optimize import optimize_acqf
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, expit, logit, ndtr
from scipy.stats import qmc
from torch import Tensor

from prunebench.agents.parts.exact_process import ExactProcess
from prunebench.envs.environment.budget import Budget, Ratios

_MARGIN = 1e-3  # candidates are moved this far off their bounds, where a shift along the logits has no effect
_BISECTIONS = 30

GLOBAL, LOCAL, KEPT, ROUNDS = 512, 256, 8, 3
LOCAL_SIGMA = 0.1
_BOX_STARTS, _BOX_SAMPLES = 5, 1000


@dataclass(frozen=True)
class PolicySpace:
    """Policies with one ratio per cluster of layers, each in [low, high], that meet the budget.

    Attributes:
        budget: the cost and its limit.
        labels: ``(D,)``, each layer's cluster, 0 to k - 1.
        low: the smallest ratio.
        high: the largest ratio.
    """

    budget: Budget
    labels: NDArray[np.int64]
    low: float
    high: float

    @property
    def dimensions(self) -> int:
        """The number of clusters."""
        return int(self.labels.max()) + 1

    def expand(self, points: ArrayLike) -> Ratios:
        """Cluster ratios ``(..., k)`` as policies ``(..., D)``."""
        return np.asarray(points, dtype=np.float64)[..., self.labels]

    def means(self, policies: ArrayLike) -> Ratios:
        """Policies ``(..., D)`` as their clusters' mean ratios ``(..., k)``."""
        members = np.eye(self.dimensions)[self.labels]
        return np.asarray(policies, dtype=np.float64) @ (members / members.sum(axis=0))

    def on_budget(self, points: ArrayLike) -> Ratios:
        """Points ``(..., k)`` shifted until their unrounded cost meets the budget; cheaper ones only where it is to be
        filled.

        The shift is along the logits of the ratios' place in [low, high], so the bounds hold. Where even
        ``low`` everywhere is too much, or ``high`` everywhere too little, the result is near that corner.
        """
        place = (np.asarray(points, dtype=np.float64) - self.low) / max(self.high - self.low, 1e-12)
        logits = logit(np.clip(place, _MARGIN, 1 - _MARGIN))
        reach = 2 * logit(1 - _MARGIN) + 10

        def shifted(by: NDArray[np.float64]) -> Ratios:
            return self.low + (self.high - self.low) * expit(logits + by[..., None])

        down = np.full(logits.shape[:-1], -reach)
        up = np.full(logits.shape[:-1], reach if self.budget.fill else 0.0)
        for _ in range(_BISECTIONS):
            middle = (down + up) / 2
            fits = self.budget.cost(self.expand(shifted(middle)) * self.budget.channels) <= self.budget.limit
            down, up = np.where(fits, middle, down), np.where(fits, up, middle)
        return shifted(down)

    def sobol(self, n: int, seed: int | None) -> Ratios:
        """``(n, k)`` scrambled Sobol points of the box, not shifted; without a seed plain ones, from the middle on.

        (The first plain one of all is a corner.)
        """
        sequence = qmc.Sobol(self.dimensions, scramble=seed is not None, rng=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # n need not be a power of two here
            if seed is None:
                sequence.fast_forward(1)
            unit = sequence.random(n)
        return self.low + (self.high - self.low) * unit

    def near(self, centres: Ratios, n: int, sigma: float, rng: np.random.Generator) -> Ratios:
        """``(n, k)`` normal perturbations of randomly chosen ``centres`` ``(m, k)``, clipped to the box.

        Half of them move every coordinate, half a random subset of about 20 (as TuRBO does in high dimension).
        """
        chosen = centres[rng.integers(len(centres), size=n)]
        moves = rng.random(chosen.shape) < 20 / self.dimensions
        moves[: n // 2] = True
        moves[np.arange(n), rng.integers(self.dimensions, size=n)] = True
        return np.clip(chosen + moves * rng.normal(0.0, sigma, chosen.shape), self.low, self.high)


def propose(
    model: SingleTaskGP, space: PolicySpace, incumbents: ArrayLike, rng: np.random.Generator, rounds: int = ROUNDS
) -> Ratios:
    """On-budget points ``(m, k)`` of ``space``, those of the largest log expected improvement that was found first.

    The acquisition is scored on points that are already on budget: Sobol points of the whole box and
    perturbations of the best points so far, then in each further round perturbations, half as wide,
    of the best candidates of the round before.

    Args:
        model: fitted to standardised rewards, inputs ``(k,)``.
        space: the space of policies to look in.
        incumbents: ``(m, k)``, the best points so far.
        rng: draws the candidates.
        rounds: how many rounds, at least one.
    """
    process, best_yet = ExactProcess(model), float(model.train_targets.max())

    def scores(points: Ratios) -> NDArray[np.float64]:
        mean, variance = process.predict(torch.as_tensor(points))
        return log_expected_improvement(mean.numpy(), variance.sqrt().numpy(), best_yet)

    around = space.near(np.asarray(incumbents, dtype=np.float64), GLOBAL, LOCAL_SIGMA, rng)
    everywhere = space.sobol(GLOBAL, int(rng.integers(2**31)))
    points = space.on_budget(np.vstack([everywhere, around]))
    values = scores(points)
    for number in range(1, rounds):
        best = points[np.argsort(-values)[:KEPT]]
        points = space.on_budget(np.vstack([best, space.near(best, LOCAL, LOCAL_SIGMA / 2**number, rng)]))
        values = scores(points)
    return points[np.argsort(-values, kind="stable")]


def propose_in_box(model: SingleTaskGP, space: PolicySpace, jitter: float, rng: np.random.Generator) -> Ratios:
    """The point ``(k,)`` of the box, whatever it costs, with the largest expected improvement that was found.

    As GPyOpt's default: gradient ascent from the best five of 1,000 uniform points; what is improved on is the best
    posterior mean among the evaluations. It is the plain expected improvement, so where no improvement is likely it is
    0 in float64 and the point is one of the 1,000. An ascent that ends exactly at one of the model's inputs (in a
    corner of the box) counts by its start instead.

    Args:
        model: fitted to standardised rewards, inputs ``(k,)``.
        space: gives the box.
        jitter: least size of an improvement, in standard deviations of the rewards.
        rng: draws the points.
    """
    (inputs,) = model.train_inputs
    with torch.no_grad():
        best = model.posterior(inputs).mean.max()
    acquisition = ExpectedImprovement(model, best_f=best + jitter)
    starts = box_starts(acquisition, space, rng)
    bounds = torch.tensor([[space.low], [space.high]], dtype=torch.float64).expand(2, space.dimensions)
    ends, _ = optimize_acqf(
        acquisition,
        bounds,
        q=1,
        num_restarts=len(starts),
        batch_initial_conditions=starts,
        return_best_only=False,
        retry_on_optimization_warning=False,
    )
    known = (ends.float() == inputs.float()).all(dim=-1).any(dim=-1)  # (starts,); actions are of single precision
    points = torch.where(known[:, None, None], starts, ends.clamp(space.low, space.high))
    with torch.no_grad():
        return np.asarray(points[acquisition(points).argmax(), 0])


def box_starts(acquisition: AnalyticAcquisitionFunction, space: PolicySpace, rng: np.random.Generator) -> Tensor:
    """The best five ``(5, 1, k)`` of 1,000 uniform points of the box."""
    uniform = rng.uniform(space.low, space.high, (_BOX_SAMPLES, 1, space.dimensions))
    points = torch.as_tensor(uniform)
    with torch.no_grad():
        return points[acquisition(points).topk(_BOX_STARTS).indices]


def log_expected_improvement(mean: ArrayLike, deviation: ArrayLike, best: float) -> NDArray[np.float64]:
    """Logarithm of the expected improvement over ``best``, also where that is 0 in float64 (Ament et al. 2023, eq. 9).

    Args:
        mean: ``(n,)``, of the posterior.
        deviation: ``(n,)``, its standard deviation, positive.
        best: the reward to improve on.
    """
    deviation = np.asarray(deviation)
    z = (np.asarray(mean) - best) / deviation
    log_density = -(z**2) / 2 - np.log(2 * np.pi) / 2
    near, far = np.maximum(z, -1), np.minimum(z, -1)
    hazard = np.sqrt(np.pi / 2) * -far * erfcx(-far / np.sqrt(2))  # -z times the mass below z over the density at z
    tail = np.where(far > -1e6, np.log1p(-np.minimum(hazard, 1 - 1e-13)), -2 * np.log(-far))
    whole = np.log(np.exp(-(near**2) / 2) / np.sqrt(2 * np.pi) + near * ndtr(near))
    return np.where(z > -1, whole, log_density + tail) + np.log(deviation)

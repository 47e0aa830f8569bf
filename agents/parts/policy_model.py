"""A Gaussian process over whole policies, on the logarithms of their preserve ratios. NumPy, and a few milliseconds.

The loss of a pruned network is about a product of what each layer does to it: in logarithms of both it is nearly a sum
of a curve per layer, and one lengthscale serves all layers (docs/agents/adaptive_clustered_bo.md has the figures).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
Parts = tuple[Array, Array]

PRIOR_MEAN = np.array([0.0, 0.0, np.log(0.7), -3.0])
PRIOR_DEVIATION = np.array([2.0, 2.0, 0.7, 1.0])
CURVE = 0.25  # lengthscale of a layer's own curve, in log ratio
_REACH = 4  # hyperparameters stay within so many deviations of their prior's mean
_JITTER = 1e-6


class PolicyModel:
    """Mean 0 after standardising; a curve per layer and, of all layers together, a Matern-5/2 rest; white noise.

    The covariance of log ratios is the mean over the layers of a squared exponential of each, of fixed lengthscale,
    plus a Matern-5/2 with one lengthscale. Squared distances are divided by D, so that one prior serves every depth.
    The logarithms of the four hyperparameters (variance of the curves, variance of the Matern part, its lengthscale,
    noise variance) have normal priors; they are fitted by maximum a posteriori.

    Attributes:
        hyper: ``(4,)``, the logarithms; a fit starts from where the last one ended.
        shift: the mean that was subtracted from the outcomes.
        scale: the number that they were then divided by.
    """

    def __init__(self) -> None:
        self.hyper = PRIOR_MEAN.copy()
        self.shift, self.scale = 0.0, 1.0
        self._x: Array = np.empty((0, 0))
        self._known: Parts = (np.empty((0, 0)), np.empty((0, 0)))

    def standardised(self, outcomes: ArrayLike) -> Array:
        """Outcomes as the model has them."""
        return (np.asarray(outcomes, dtype=np.float64) - self.shift) / self.scale

    def fit(self, policies: ArrayLike, outcomes: ArrayLike, iterations: int) -> None:
        """Condition on ``policies`` ``(n, D)`` (ratios above 0) and ``outcomes`` ``(n,)``.

        Args:
            policies: preserve ratios.
            outcomes: where they are all equal, they tell nothing: all 0.
            iterations: most iterations of L-BFGS; with 0 the hyperparameters stay.
        """
        x, y = np.log(np.asarray(policies, dtype=np.float64)), np.asarray(outcomes, dtype=np.float64)
        self.shift, deviation = float(y.mean()), float(y.std())
        self.scale = deviation if deviation > 1e-9 * max(1.0, abs(self.shift)) else 1.0
        t = self.standardised(y) if deviation == self.scale else np.zeros(len(y))
        parts = self._parts_of(x)
        if iterations:
            reach = _REACH * PRIOR_DEVIATION
            self.hyper = minimize(
                _loss,
                self.hyper,
                (t, parts),
                method="L-BFGS-B",
                jac=True,
                bounds=list(zip(PRIOR_MEAN - reach, PRIOR_MEAN + reach, strict=True)),
                options={"maxiter": iterations},
            ).x
        self._x, self._known = x, parts
        self._factor = np.linalg.cholesky(_covariance(self.hyper, parts)[0])
        self._weights = solve_triangular(self._factor.T, solve_triangular(self._factor, t, lower=True))

    def predict(self, policies: ArrayLike) -> tuple[Array, Array]:
        """Posterior mean and variance, without noise, of standardised outcomes at ``policies`` ``(m, D)``."""
        z = np.log(np.asarray(policies, dtype=np.float64))
        across = self._across(z)
        known = solve_triangular(self._factor, across.T, lower=True)
        prior = np.exp(self.hyper[:2]).sum()
        return across @ self._weights, np.maximum(prior - (known**2).sum(axis=0), 1e-9)

    def mean(self, policies: ArrayLike) -> Array:
        """The mean alone, which is cheaper."""
        return self._across(np.log(np.asarray(policies, dtype=np.float64))) @ self._weights

    def _across(self, z: Array) -> Array:
        """Prior covariance of log ratios ``(m, D)`` and those of the last fit: ``(m, n)``.

        In float32, whose exponentials take a quarter of the time: it ranks candidates, to a millionth.
        """
        curves, matern, length = np.exp(self.hyper[:3])
        alike, distances = _parts(z.astype(np.float32), self._x.astype(np.float32))
        across: Array = (curves * alike + matern * _matern(distances, length)[0]).astype(np.float64)
        return across

    def _parts_of(self, x: Array) -> Parts:
        """The parts of ``x`` ``(n, D)``; of those rows that it begins with as the last fit did they are known."""
        n = len(self._x)
        if n == 0 or n > len(x) or not np.array_equal(x[:n], self._x):
            return _parts(x, x)
        new = [(part[:, :n], part[:, n:]) for part in _parts(x[n:], x)]
        both = [np.block([[old, left.T], [left, right]]) for old, (left, right) in zip(self._known, new, strict=True)]
        return both[0], both[1]


def _parts(x: Array, z: Array) -> Parts:
    """What does not change with the hyperparameters: the curves' covariance and distances, each ``(m, n)``."""
    alike, squares, square = (np.zeros((len(x), len(z)), dtype=x.dtype) for _ in range(3))
    for own, other in zip(x.T, z.T, strict=True):
        np.subtract.outer(own, other, out=square)
        square *= square
        squares += square
        square *= -0.5 / CURVE**2
        alike += np.exp(square, out=square)
    return alike / x.shape[1], np.sqrt(squares / x.shape[1])


def _matern(distances: Array, length: float) -> tuple[Array, Array]:
    """Matern-5/2 correlation, and its derivative by the logarithm of the lengthscale."""
    s = np.sqrt(5) / length * distances
    decay = np.exp(-s)
    return (1 + s + s**2 / 3) * decay, s**2 * (1 + s) / 3 * decay


def _covariance(hyper: Array, parts: Parts) -> tuple[Array, list[Array]]:
    """The covariance of noisy outcomes ``(n, n)``, and its derivatives by the four hyperparameters."""
    alike, distances = parts
    curves, matern, length, noise = np.exp(hyper)
    correlation, by_length = _matern(distances, length)
    one = np.eye(len(alike))
    slopes = [curves * alike, matern * correlation, matern * by_length, noise * one]
    return slopes[0] + slopes[1] + slopes[3] + _JITTER * one, slopes


def _loss(hyper: Array, outcomes: Array, parts: Parts) -> tuple[float, Array]:
    """Negative log posterior of the hyperparameters, up to a constant, and its gradient."""
    covariance, by_hyper = _covariance(hyper, parts)
    factor = np.linalg.cholesky(covariance)
    inverse: Any = solve_triangular(factor, np.eye(len(factor)), lower=True)
    inverse = inverse.T @ inverse
    weights = inverse @ outcomes
    away = (hyper - PRIOR_MEAN) / PRIOR_DEVIATION
    value = outcomes @ weights / 2 + np.log(np.diag(factor)).sum() + (away**2).sum() / 2
    slopes = inverse - np.outer(weights, weights)
    return float(value), np.array([(slopes * part).sum() / 2 for part in by_hyper]) + away / PRIOR_DEVIATION

"""A function of channel counts that is fitted to recorded scores: quadratic in the log ratios, and a smooth rest.

The rest is kernel ridge regression on some of the policies (Matern-5/2), in log ratios scaled by how much the quadratic
part says that each layer matters: a Gaussian process's mean with a subset of regressors. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POINTS = 1000  # policies that the rest is spanned by
_TRIED = 500  # likewise, while lengths and noise are chosen
_LENGTHS, _NOISES = (2.0, 4.0, 8.0, 16.0), (0.01, 0.1, 1.0)
_SHRINKAGE = 1.0  # of the quadratic part, in squares of standardised outcomes
_LEAST = 0.1  # of a layer's mean importance: a layer that seems not to matter still tells policies apart
_JITTER = 1e-6
_SEED = 0


@dataclass(frozen=True)
class Surface:
    """A fitted function of log ratios ``(n, D)`` with K outcomes.

    Attributes:
        quadratic: ``(1 + 2 D, K)``.
        points: ``(M, D)``, log ratios.
        rest: ``(M, K)``.
        lengths: ``(D,)``, over which the rest changes.
        centre: ``(K,)``, of the outcomes.
        spread: ``(K,)``, their standard deviations.
        low: ``(K,)``, the least of them; nothing beyond what was recorded is ever said.
        high: ``(K,)``, the greatest.
    """

    quadratic: Floats
    points: Floats
    rest: Floats
    lengths: Floats
    centre: Floats
    spread: Floats
    low: Floats
    high: Floats

    def __call__(self, logs: Floats) -> Floats:
        """Outcomes ``(n, K)`` of log ratios ``(n, D)``."""
        standard = _terms(logs) @ self.quadratic + _kernel(logs, self.points, self.lengths) @ self.rest
        return np.clip(standard * self.spread + self.centre, self.low, self.high)


def fit(logs: Floats, outcomes: Floats, always: NDArray[np.bool_]) -> Surface:
    """Fit log ratios ``(n, D)`` to outcomes ``(n, K)``; lengths and noise are those that do best on a tenth left out.

    Args:
        logs: of distinct policies.
        outcomes: of each.
        always: ``(n,)``, policies that are among the points, as they are far from all others.
    """
    order = np.random.default_rng(_SEED).permutation(len(logs))
    left, others = order[: len(order) // 10], order[len(order) // 10 :]

    def error(choice: tuple[float, float]) -> float:
        found = _fitted(logs[others], outcomes[others], always[others], _TRIED, *choice)
        return float((((found(logs[left]) - outcomes[left]) / found.spread) ** 2).mean())

    return _fitted(logs, outcomes, always, POINTS, *min(product(_LENGTHS, _NOISES), key=error))


def _fitted(
    logs: Floats, outcomes: Floats, always: NDArray[np.bool_], count: int, length: float, noise: float
) -> Surface:
    centre, spread = outcomes.mean(axis=0), outcomes.std(axis=0)
    standard, terms = (outcomes - centre) / spread, _terms(logs)
    shrunk = terms.T @ terms + _SHRINKAGE * np.eye(terms.shape[1])
    quadratic = np.linalg.solve(shrunk, terms.T @ standard)
    chosen = np.random.default_rng(_SEED).permutation(len(logs))
    chosen = chosen[np.argsort(~always[chosen], kind="stable")][:count]
    found = Surface(
        quadratic=quadratic,
        points=logs[chosen],
        rest=np.zeros((len(chosen), outcomes.shape[1])),
        lengths=length / _importance(logs, quadratic[:, 0]),
        centre=centre,
        spread=spread,
        low=outcomes.min(axis=0),
        high=outcomes.max(axis=0),
    )
    across = _kernel(logs, found.points, found.lengths)
    within = _kernel(found.points, found.points, found.lengths)
    normal = across.T @ across + noise * within + _JITTER * np.eye(len(within))
    return replace(found, rest=np.linalg.solve(normal, across.T @ (standard - terms @ quadratic)))


def _importance(logs: Floats, quadratic: Floats) -> Floats:
    """``(D,)``: how steep the quadratic part is along each layer, over the mean of all layers."""
    linear, square = np.split(quadratic[1:], 2)
    slopes = np.sqrt(((linear + 2 * square * logs) ** 2).mean(axis=0))
    return np.maximum(slopes / slopes.mean(), _LEAST)


def _terms(logs: Floats) -> Floats:
    return np.hstack([np.ones((len(logs), 1)), logs, logs**2])


def _kernel(one: Floats, other: Floats, lengths: Floats) -> Floats:
    """Matern-5/2: ``(n, m)``."""
    a, b = one / lengths, other / lengths
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    root = np.sqrt(5 * np.maximum(squares, 0))
    kernel: Any = (1 + root + root**2 / 3) * np.exp(-root)
    return kernel

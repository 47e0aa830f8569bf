"""Whether the means of two agents' runs differ: Welch's t-test, whose interval agrees with it.

Runs of two agents share nothing but their task. Agents' spreads differ up to fourteenfold, which Welch's test allows
for and permutations of few runs do not (docs/report.md has the simulations). It takes values to be normal: standardised
residuals of the recorded runs have an excess kurtosis of -1.06, those of five normal values have -1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FEWEST = 3
"""Runs of each agent, in every task, that a test needs."""
_ROUNDING = 1e-9  # of the largest value: what varies less does not vary
_CERTAIN = 1e6  # degrees of freedom of what does not vary

Sample = NDArray[np.float64]
Strata = Sequence[tuple[ArrayLike, ArrayLike]]
"""Per task the values ``(n,)`` of one agent and ``(m,)`` of the other."""


class Interval(NamedTuple):
    """An interval; NaN where there is none."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


class _Task(NamedTuple):
    """A difference of means, its variance, and Welch's degrees of freedom."""

    effect: float
    variance: float
    freedom: float


class Difference:
    """Two-sided, stratified by task (Welch 1938, 1947).

    Attributes:
        each: the difference of means, by task.
        effect: their mean; NaN where there is no task.
        p: of the null hypothesis that it is 0; NaN where an agent has fewer than :data:`FEWEST` runs of a task.
        interaction_p: of the null hypothesis that it is the same in every task (Welch's analysis of variance of the
            tasks' differences, 1951); NaN of one task.
    """

    def __init__(self, strata: Strata) -> None:
        both = [(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)) for x, y in strata]
        self._tasks = [_task(x, y) for x, y in both]
        self.each = [task.effect for task in self._tasks]
        self.effect = float(np.mean(self.each)) if both else math.nan
        testable = bool(both) and min(min(len(x), len(y)) for x, y in both) >= FEWEST
        self.p = self._p() if testable else math.nan
        self.interaction_p = _same(self._tasks) if testable and len(both) > 1 else math.nan

    @property
    def error(self) -> float:
        """Standard error of the effect."""
        return math.sqrt(sum(task.variance for task in self._tasks)) / len(self._tasks)

    @property
    def _freedom(self) -> float:
        parts = sum(task.variance**2 / task.freedom for task in self._tasks)
        return sum(task.variance for task in self._tasks) ** 2 / parts

    def _p(self) -> float:
        return float(2 * stats.t.sf(abs(self.effect) / self.error, self._freedom))

    def interval(self, level: float) -> Interval:
        """The effects that the test does not reject at a level."""
        if math.isnan(self.p):
            return NO_INTERVAL
        half = float(stats.t.isf(level / 2, self._freedom)) * self.error
        return Interval(self.effect - half, self.effect + half)


def _task(x: Sample, y: Sample) -> _Task:
    """Of one task; where nothing varies, the variance is that of rounding, and what is not more than that no effect."""
    rounding = _ROUNDING * max(float(np.abs(x).max()), float(np.abs(y).max()), np.finfo(float).tiny)
    sizes = [
        (sample.var(ddof=1) / len(sample) if len(sample) > 1 else 0.0, max(1, len(sample) - 1)) for sample in (x, y)
    ]
    variance = float(sum(part for part, _ in sizes))
    effect = float(x.mean() - y.mean())
    if variance <= rounding**2:
        return _Task(effect if abs(effect) > rounding else 0.0, rounding**2, _CERTAIN)
    return _Task(effect, variance, float(variance**2 / sum(part**2 / freedom for part, freedom in sizes)))


def _same(tasks: Sequence[_Task]) -> float:
    """p of equal effects."""
    count = len(tasks)
    weights = np.array([1 / task.variance for task in tasks])
    effects = np.array([task.effect for task in tasks])
    centre = weights @ effects / weights.sum()
    loose = float(np.sum((1 - weights / weights.sum()) ** 2 / [task.freedom for task in tasks])) / (count**2 - 1)
    statistic = (weights @ (effects - centre) ** 2) / (count - 1) / (1 + 2 * (count - 2) * loose)
    return float(stats.f.sf(statistic, count - 1, 1 / (3 * loose)))

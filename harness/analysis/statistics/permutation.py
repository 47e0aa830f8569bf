"""Whether the variances of two agents' runs differ: residuals permuted within tasks, and the interval that agrees.

All ways to give the residuals to the two agents are tried where there are at most :data:`MOST_SPLITS`, else
:data:`DRAWN` are drawn.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from prunebench.harness.analysis.statistics.welch import NO_INTERVAL, Interval, Sample, Strata

MOST_SPLITS = 20_000
DRAWN = 9_999
_SEED = 0  # of the drawn splits: the same runs, in the same order, give the same table
_STEPS = 40  # of a bisection
_STEP = 1.0  # a logarithm: the first one in search of an interval's end
_DOUBLINGS = 10
_ROUNDING = 1e-12  # of the values' mean square: a variance below it is none
_TIES = 1e-9  # the last bits of equal statistics differ

Sizes = tuple[tuple[int, int], ...]


def count_splits(sizes: Sizes) -> int:
    """How many ways there are to give tasks' runs to two agents, as many to each as they have."""
    return math.prod(math.comb(n + m, n) for n, m in sizes)


def smallest_p(sizes: Sizes) -> float:
    """The smallest two-sided p that a permutation test of so many runs can give; 1 for none."""
    total = count_splits(sizes)
    if total > MOST_SPLITS:
        return 1 / (DRAWN + 1)
    return min(1.0, (2 if all(n == m for n, m in sizes) else 1) / total)


@lru_cache(maxsize=16)
def _members(sizes: Sizes) -> tuple[Sample, ...]:
    """Per task 1.0 where a run is in the first group, ``(splits, n + m)``; the first row is how the runs are."""
    if count_splits(sizes) > MOST_SPLITS:
        rng = np.random.default_rng(_SEED)
        return tuple(_drawn(n, m, rng) for n, m in sizes)
    chosen = [np.array(list(combinations(range(n + m), n))) for n, m in sizes]
    rows = np.indices([len(of_task) for of_task in chosen]).reshape(len(sizes), -1)
    return tuple(_as_members(of_task[row], n + m) for of_task, row, (n, m) in zip(chosen, rows, sizes, strict=True))


def _drawn(n: int, m: int, rng: np.random.Generator) -> Sample:
    order = np.argsort(rng.random((DRAWN, n + m)), axis=1)[:, :n]
    return _as_members(np.concatenate([np.arange(n)[None], order]), n + m)


def _as_members(chosen: NDArray[np.int64], total: int) -> Sample:
    members = np.zeros((len(chosen), total))
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members


class VarianceRatio:
    """Two-sided, by the logarithm of the ratio of variances of residuals around the means.

    Args:
        strata: the effect is the mean over tasks of log(variance of ours / variance of theirs). Tasks where an agent
            has fewer than two values, or the same value in all, are left out.
        level: of significance that has to be within reach, after correction.

    Attributes:
        each: the logarithm, of every task that is left.
        effect: their mean; NaN where none is left.
        p: of the null hypothesis that it is 0; NaN where no split of so few runs could reach the level.
        interaction_p: NaN: it is not asked whether the effect is the same in all tasks.
    """

    interaction_p = math.nan

    def __init__(self, strata: Strata, level: float) -> None:
        both = [(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)) for x, y in strata]
        varied = [(x, y) for x, y in both if min(len(x), len(y)) > 1 and min(np.ptp(x), np.ptp(y)) > 0]
        self._residuals = [(x - x.mean(), y - y.mean()) for x, y in varied]
        self._sizes = tuple((len(x), len(y)) for x, y in varied)
        self.each = [math.log(x.var(ddof=1) / y.var(ddof=1)) for x, y in varied]
        self.effect = float(np.mean(self.each)) if varied else math.nan
        self.p = self.p_of(0.0) if varied and smallest_p(self._sizes) <= level else math.nan

    def p_of(self, effect: float) -> float:
        """p of the null hypothesis that the effect is this one."""
        total: Sample | float = 0.0
        for (x, y), members in zip(self._residuals, _members(self._sizes), strict=True):
            total = total + _log_ratios(members, np.concatenate([x / math.exp(effect / 2), y]), len(x))
        distance = np.abs(total)
        return float((distance >= distance[0] * (1 - _TIES) - _TIES).mean())  # the first split is the runs'

    def interval(self, level: float) -> Interval:
        """The effects that the test does not reject at a level: 0 is among them exactly where ``p`` is above it."""
        return NO_INTERVAL if math.isnan(self.p) else Interval(self._end(-1, level), self._end(1, level))

    def _end(self, side: int, level: float) -> float:
        """The effect furthest out on one side that is not rejected."""
        inside, step = self.effect, _STEP
        if side * inside < 0:  # 0 lies on this side: the test has decided about it
            if self.p <= level:
                return self._between(inside, 0.0, level)
            inside = 0.0
        for _ in range(_DOUBLINGS):
            outside = inside + side * step
            if self.p_of(outside) <= level:
                return self._between(inside, outside, level)
            inside, step = outside, 2 * step
        return side * math.inf

    def _between(self, inside: float, outside: float, level: float) -> float:
        for _ in range(_STEPS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if self.p_of(middle) <= level else (middle, outside)
        return inside


def _log_ratios(members: Sample, values: Sample, n: int) -> Sample:
    """Of every split the logarithm of the ratio of the groups' variances (n - 1), ``(splits,)``."""
    values = values - values.mean()
    floor, m = _ROUNDING * float((values**2).mean()), len(values) - n
    sums, squares = members @ values, members @ values**2
    rests = squares - sums**2 / n, (values**2).sum() - squares - sums**2 / m
    first, second = (np.maximum(rest / (size - 1), floor) for rest, size in zip(rests, (n, m), strict=True))
    return np.asarray(np.log(first / second))

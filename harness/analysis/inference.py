"""Statistics of few seeds: intervals, paired tests, variances. SciPy does the arithmetic."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ALPHA = 0.05
RESAMPLED_RUNS = 5  # below it a bootstrap says too little: of three runs every ninth resample is one run thrice
_RESAMPLES = 9999
_EXACT = 16  # pairs up to which all sign flips are tried
_SEED = 0  # of resampling: the same runs give the same table

Sample = NDArray[np.float64]


class Interval(NamedTuple):
    """A 95 % interval; NaN where there is none."""

    low: float
    high: float


NO_INTERVAL = Interval(math.nan, math.nan)


class Paired(NamedTuple):
    """Differences of pairs: how many, mean and standard deviation (n - 1), interval of the mean, two-sided p."""

    pairs: int
    mean: float
    std: float
    interval: Interval
    p: float


class Components(NamedTuple):
    """Variances of one agent's accuracy: of its seed within a split, and of the split itself."""

    seed: float
    split: float


def iqm(values: ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean: of the middle half (Agarwal et al. 2021); the plain mean of fewer than four values."""
    return stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25, axis=axis)


def iqm_interval(strata: Sequence[ArrayLike]) -> Interval:
    """Stratified percentile-bootstrap interval of the interquartile mean of all values (Agarwal et al. 2021).

    Args:
        strata: values per task, ``(n_t,)`` each; resampled within their task.

    Returns:
        None below five values in all, or where a task has one value only.
    """
    if sum(len(np.asarray(values)) for values in strata) < RESAMPLED_RUNS:
        return NO_INTERVAL
    return _bootstrap(strata, lambda *samples: iqm(np.concatenate(samples, axis=-1)))


def mean_interval(values: ArrayLike) -> Interval:
    """Student-t interval of a mean; none for a single value."""
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return NO_INTERVAL
    half = stats.t.ppf(1 - ALPHA / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample))
    return Interval(float(sample.mean() - half), float(sample.mean() + half))


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p of a sign-flip test with so many pairs: all differences have one sign. 1 for none."""
    return min(1.0, 2.0 ** (1 - pairs))


def decidable(pairs: int, comparisons: int = 1) -> bool:
    """Whether so many pairs can give a p of at most 5 % at all, after correction for so many comparisons."""
    return pairs > 1 and max(1, comparisons) * smallest_p(pairs) <= ALPHA


def fewest_pairs(comparisons: int = 1) -> int:
    """The fewest pairs that can decide anything."""
    return next(n for n in itertools.count(2) if decidable(n, comparisons))


def paired(differences: ArrayLike) -> Paired:
    """Exact sign-flip permutation test of paired differences (sampled flips beyond 16 pairs), and their mean.

    Args:
        differences: ``(n,)``, one per pair; NaN are left out.

    Returns:
        The Student-t interval stands only where the test could decide: one that excludes 0 says as much as a p does.
    """
    sample = np.asarray(differences, dtype=np.float64)
    sample = sample[~np.isnan(sample)]
    n = len(sample)
    mean = float(sample.mean()) if n else math.nan
    std = float(sample.std(ddof=1)) if n > 1 else math.nan
    if n < 2:
        return Paired(n, mean, std, NO_INTERVAL, math.nan)
    interval = mean_interval(sample) if decidable(n) else NO_INTERVAL
    return Paired(n, mean, std, interval, _sign_flip_p(sample))


def _sign_flip_p(sample: Sample) -> float:
    result = stats.permutation_test(
        (sample,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**_EXACT,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def holm(ps: ArrayLike) -> Sample:
    """Holm's correction of p values ``(m,)``; NaN stay, and do not count as comparisons."""
    corrected = np.array(ps, dtype=np.float64)
    order = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]  # NaN are sorted last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def probability_of_improvement(ours: Sequence[ArrayLike], theirs: Sequence[ArrayLike]) -> tuple[float, Interval]:
    """How often a run of one agent beats a run of another, ties as halves, mean over tasks (Agarwal et al. 2021).

    Args:
        ours: values per task, ``(n_t,)`` each, of which more is better.
        theirs: the other agent's values, of the same tasks.

    Returns:
        The probability and its stratified percentile-bootstrap interval (none below five values each).
    """

    def statistic(*samples: Sample) -> Sample:
        half = len(samples) // 2
        tasks = zip(samples[:half], samples[half:], strict=True)
        return np.mean([_superiority(mine, other) for mine, other in tasks], axis=0)

    samples = [np.asarray(values, dtype=np.float64) for values in (*ours, *theirs)]
    runs = min(sum(map(len, samples[: len(ours)])), sum(map(len, samples[len(ours) :])))
    interval = _bootstrap(samples, statistic) if runs >= RESAMPLED_RUNS else NO_INTERVAL
    return float(statistic(*samples)), interval


def _superiority(mine: Sample, other: Sample) -> Sample:
    """``(..., n)`` against ``(..., m)``."""
    sign = np.sign(mine[..., :, None] - other[..., None, :])
    return (1 + sign.mean(axis=(-2, -1))) / 2


def brown_forsythe(ours: ArrayLike, theirs: ArrayLike) -> float:
    """p of equal variances (Brown and Forsythe 1974: Levene's test around medians).

    NaN below five values each, and where all of a sample's deviations are equal, so that nothing varies but their size.
    """
    samples = [np.asarray(values, dtype=np.float64) for values in (ours, theirs)]
    if min(map(len, samples)) < RESAMPLED_RUNS:
        return math.nan
    if all(np.ptp(sample) == 0 for sample in samples):
        return 1.0
    deviations = [np.abs(sample - np.median(sample)) for sample in samples]
    if all(np.ptp(values) == 0 for values in deviations):
        return math.nan
    return float(stats.levene(*samples, center="median").pvalue)


def variance_ratio(ours: ArrayLike, theirs: ArrayLike) -> tuple[float, Interval]:
    """Ratio of the sample variances and its percentile-bootstrap interval (none below five values each).

    Infinite where only the second sample has no variance; NaN where neither has.
    """
    samples = [np.asarray(values, dtype=np.float64) for values in (ours, theirs)]
    if min(map(len, samples)) < 2:
        return math.nan, NO_INTERVAL
    ratio = float(_ratio(*samples))
    enough = min(map(len, samples)) >= RESAMPLED_RUNS and 0 < ratio < math.inf
    return ratio, _bootstrap(samples, _ratio) if enough else NO_INTERVAL


def _ratio(mine: Sample, other: Sample) -> Sample:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.var(mine, axis=-1, ddof=1) / np.var(other, axis=-1, ddof=1)


def variance_components(splits: Sequence[ArrayLike]) -> Components:
    """Variance by agent seed and by split, from a one-way random-effects analysis of variance.

    Args:
        splits: an agent's accuracies per split seed, ``(n_s,)`` each.

    Returns:
        Method-of-moments estimates (Searle et al. 1992, ch. 3.6, unequal group sizes); a negative one is 0. NaN where
        there are fewer than two splits, or no split has two seeds.
    """
    groups = [np.asarray(values, dtype=np.float64) for values in splits]
    sizes = np.array([len(group) for group in groups])
    total = int(sizes.sum())
    if len(groups) < 2 or total <= len(groups):
        return Components(math.nan, math.nan)
    means = np.array([group.mean() for group in groups])
    grand = float(sizes @ means) / total
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / (total - len(groups))
    between = float(sizes @ (means - grand) ** 2) / (len(groups) - 1)
    typical = (total - float(sizes @ sizes) / total) / (len(groups) - 1)
    return Components(within, max(0.0, (between - within) / typical))


def _bootstrap(strata: Sequence[ArrayLike], statistic: Callable[..., Any]) -> Interval:
    """Percentile interval of a statistic of independently resampled samples; none where one has a single value."""
    samples = [np.asarray(values, dtype=np.float64) for values in strata]
    if not samples or min(map(len, samples)) < 2:
        return NO_INTERVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinite ratios: its interpolated interval is not used
        result = stats.bootstrap(
            samples,
            lambda *parts, axis: statistic(*(np.moveaxis(part, axis, -1) for part in parts)),
            vectorized=True,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        )
    drawn = np.asarray(result.bootstrap_distribution)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return NO_INTERVAL
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2], method="inverted_cdf")
    return Interval(float(low), float(high))

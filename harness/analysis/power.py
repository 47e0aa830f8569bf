"""The number of runs that would decide what few runs leave open."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from prunebench.harness.analysis import inference
from prunebench.harness.analysis.inference import ALPHA

POWER = 0.8
MOST_SEEDS = 1000  # beyond which the advice is just "more than"
_SIMULATED = 2000  # pairs of samples, to find out a test's power
_SEED = 0  # of the simulation: the same runs give the same advice


def seeds_needed(differences: ArrayLike, comparisons: int = 1) -> int | None:
    """How many seeds would decide a comparison if differences go on as they began.

    The fewest with which a paired t-test at 5 % / comparisons has a power of 80 % for the observed mean and standard
    deviation, and a sign-flip test can reach that p at all. None: more than a thousand, or too few pairs to tell.
    """
    sample = np.asarray(differences, dtype=np.float64)
    if len(sample) < 2 or sample.mean() == 0:
        return None
    floor = inference.fewest_pairs(comparisons)
    std = float(sample.std(ddof=1))
    if std <= 1e-12 * abs(float(sample.mean())):
        return floor
    effect = abs(float(sample.mean())) / std
    level = ALPHA / comparisons
    seeds = np.arange(floor, MOST_SEEDS + 1)
    enough = seeds[~(paired_power(effect, seeds, level) < POWER)]
    return int(enough[0]) if len(enough) else None


def paired_power(effect: float, pairs: NDArray[np.int64], level: float) -> NDArray[np.float64]:
    """Power of a two-sided paired t-test at a level, for a mean of ``effect`` standard deviations; NaN may stand for 1.

    Args:
        effect: above 0.
        pairs: ``(m,)``, at least 2 each.
        level: of significance.
    """
    freedom, shift = pairs - 1, np.asarray(effect * np.sqrt(pairs), dtype=np.float64)
    below = special.nctdtr(freedom, shift, stats.t.isf(level / 2, freedom))
    return np.asarray(1 - below + special.nctdtr(freedom, shift, stats.t.ppf(level / 2, freedom)), dtype=np.float64)


def runs_needed(ratio: float) -> int | None:
    """How many runs each would show a ratio of two variances to differ from 1, if it went on as it began.

    That is, with a power of 80 % at 5 %, for normal samples: found by simulating the Brown-Forsythe test, from the
    number that an F test would need (its logarithm's variance is 4 / (n - 1)) upwards. None: more than a thousand, or
    a ratio that is 0, 1 or infinite.
    """
    if not 0 < ratio < math.inf or ratio == 1:
        return None
    reach = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    runs = max(inference.RESAMPLED_RUNS, math.ceil(1 + 4 * (reach / math.log(ratio)) ** 2))
    while runs <= MOST_SEEDS and _shown_variances(ratio, runs) < POWER:
        runs = math.ceil(1.05 * runs)
    return runs if runs <= MOST_SEEDS else None


def _shown_variances(ratio: float, runs: int) -> float:
    """How often the Brown-Forsythe test shows such a ratio: it is a t-test of the distances from the medians."""
    rng = np.random.default_rng(_SEED)
    samples = (scale * rng.standard_normal((_SIMULATED, runs)) for scale in (1.0, math.sqrt(ratio)))
    distances = [np.abs(sample - np.median(sample, axis=1, keepdims=True)) for sample in samples]
    return float((stats.ttest_ind(*distances, axis=1).pvalue <= ALPHA).mean())

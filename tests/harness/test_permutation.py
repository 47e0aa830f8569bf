"""The permutation test of variances against a loop over all splits, and its interval against its p."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.harness.analysis.statistics import permutation
from prunebench.harness.analysis.statistics.permutation import VarianceRatio

NUMBERS = st.integers(-40, 40).map(lambda n: n / 4)
SAMPLES = st.lists(NUMBERS, min_size=2, max_size=5)


def all_splits(values: list[float], n: int) -> list[tuple[list[float], list[float]]]:
    places = range(len(values))
    return [
        ([values[i] for i in chosen], [values[i] for i in places if i not in chosen])
        for chosen in itertools.combinations(places, n)
    ]


@settings(max_examples=25)
@given(SAMPLES, SAMPLES)
def test_the_variances_p_is_that_of_all_splits_of_residuals(x: list[float], y: list[float]) -> None:
    test = VarianceRatio([(x, y)], 1.0)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(test.p)
        return
    assert test.effect == pytest.approx(math.log(np.var(x, ddof=1) / np.var(y, ddof=1)))
    residuals = [*(np.array(x) - np.mean(x)), *(np.array(y) - np.mean(y))]
    floor = 1e-12 * np.mean(np.square(residuals))

    def distance(parts: tuple[list[float], list[float]]) -> float:
        ours, theirs = (max(np.var(part, ddof=1), floor) for part in parts)
        return abs(math.log(ours / theirs))

    drawn = [distance(parts) for parts in all_splits(residuals, len(x))]
    observed = distance((residuals[: len(x)], residuals[len(x) :]))
    assert test.p == pytest.approx(np.mean([value >= observed - 1e-6 for value in drawn]), abs=1e-9)


@settings(max_examples=40)
@given(SAMPLES, SAMPLES, st.sampled_from([0.05, 0.1, 0.3]))
def test_an_interval_holds_0_where_the_test_does_not_reject_it(x: list[float], y: list[float], level: float) -> None:
    test = VarianceRatio([(x, y)], level)
    low, high = test.interval(level)
    if math.isnan(test.p):
        assert math.isnan(low)
    else:
        assert low <= test.effect <= high
        assert (low <= 0 <= high) == (test.p > level)


@pytest.mark.parametrize("runs", [6, 10])  # all splits, drawn ones
def test_an_interval_ends_where_p_passes_the_level(runs: int) -> None:
    rng = np.random.default_rng(2)
    tasks = [(rng.normal(size=runs), rng.normal(3, scale, size=runs)) for scale in (2, 20)][: 1 + runs // 10]
    test = VarianceRatio(tasks, 0.05)
    assert test.effect == pytest.approx(np.mean([math.log(np.var(x, ddof=1) / np.var(y, ddof=1)) for x, y in tasks]))
    for end, out in zip(test.interval(0.05), (-1e-4, 1e-4), strict=True):
        assert test.p_of(end) > 0.05 >= test.p_of(end + out)


def test_too_few_runs_and_what_does_not_vary_have_no_p() -> None:
    assert math.isnan(VarianceRatio([([1.0, 2, 3], [3.0, 4, 9])], 0.05).p)
    assert math.isnan(VarianceRatio([([1.0] * 6, [3.0, 4, 9, 1, 2, 5])], 0.05).effect)
    assert permutation.smallest_p(((5, 5),)) == pytest.approx(2 / 252)
    assert permutation.smallest_p(((3, 4),)) == pytest.approx(1 / 35)
    assert permutation.smallest_p(((3, 3), (2, 2))) == pytest.approx(2 / 120)
    assert permutation.smallest_p(()) == 1

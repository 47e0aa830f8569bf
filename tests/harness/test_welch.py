"""Welch's test against SciPy and statsmodels, and over several tasks against what it was made for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.oneway import anova_oneway

from prunebench.harness.analysis.statistics.welch import Difference

NUMBERS = st.integers(-400, 400).map(lambda n: n / 8)
SAMPLES = st.lists(NUMBERS, min_size=3, max_size=9).filter(lambda values: np.ptp(values) > 0)


@given(SAMPLES, SAMPLES, st.sampled_from([0.01, 0.05, 0.3]))
def test_one_task_is_scipys(x: list[float], y: list[float], level: float) -> None:
    found, expected = Difference([(x, y)]), stats.ttest_ind(x, y, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.effect == pytest.approx(np.mean(x) - np.mean(y))
    assert found.interval(level) == pytest.approx(tuple(expected.confidence_interval(1 - level)))
    assert math.isnan(found.interaction_p)


@given(st.lists(st.tuples(SAMPLES, SAMPLES), min_size=2, max_size=3), st.sampled_from([0.01, 0.05, 0.3]))
def test_an_interval_holds_0_where_the_test_does_not_reject_it(
    strata: list[tuple[list[float], list[float]]], level: float
) -> None:
    test = Difference(strata)
    low, high = test.interval(level)
    assert low <= test.effect <= high
    assert (low <= 0 <= high) == (test.p > level) or abs(test.p - level) < 1e-9


def test_the_level_over_tasks_of_unlike_spread() -> None:
    rng = np.random.default_rng(0)
    trials = 3000
    ps = [
        Difference([(rng.normal(m, 1, 5), rng.normal(m, 5, 5)), (rng.normal(m, 3, 4), rng.normal(m, 0.2, 6))])
        for m in rng.normal(size=trials)
    ]
    assert np.mean([test.p <= 0.05 for test in ps]) == pytest.approx(0.05, abs=0.015)
    assert np.mean([test.interaction_p <= 0.05 for test in ps]) == pytest.approx(0.05, abs=0.015)


def test_the_same_effect_in_all_tasks_is_welchs_analysis_of_variance() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.normal(0, scale, 6) for scale in (1, 2, 4)]
    constant = [np.zeros(6)] * 3  # so that a task's difference is a sample's mean
    expected = anova_oneway(samples, use_var="unequal", welch_correction=True)
    assert Difference(list(zip(samples, constant, strict=True))).interaction_p == pytest.approx(expected.pvalue)


def test_few_runs_have_an_effect_but_no_p() -> None:
    for strata in ([([1.0, 2], [3.0, 4])], [([1.0, 2, 3], [4.0])], [([1.0, 2, 3], [4.0, 5, 6]), ([1.0], [3.0, 4, 5])]):
        found = Difference(strata)
        assert found.effect < -1
        assert math.isnan(found.p)
        assert math.isnan(found.interval(0.05).low)
    assert math.isnan(Difference([]).effect)


def test_what_does_not_vary() -> None:
    same, other = [80.0] * 3, [81.0] * 3
    assert Difference([(same, same)]).p == 1
    assert Difference([(same, other)]).p < 1e-12
    assert Difference([(same, other)]).interval(0.05) == pytest.approx((-1, -1))
    repeating = 100 * 1501 / 1800  # the means of 5 and of 12 of it differ in their last bits
    assert Difference([([repeating] * 5, [repeating] * 12)]).p == 1
    assert Difference([(same, other), (other, same)]).interaction_p < 1e-12
    one = [79.0, 80.5, 82]
    assert Difference([(one, same)]).p == pytest.approx(stats.ttest_1samp(one, 80).pvalue)

"""Statistics by hand, and against slow implementations that share nothing with them."""

from __future__ import annotations

import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from prunebench.harness.analysis import inference, power
from prunebench.harness.analysis.inference import NO_INTERVAL

NUMBERS = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))


def samples(low: int, high: int) -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=low, max_size=high)


def test_iqm_by_hand() -> None:
    assert inference.iqm([1, 2, 3, 100]) == 2.5
    assert inference.iqm([9, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert inference.iqm([1, 5, 9]) == 5


def test_paired_by_hand() -> None:
    result = inference.paired([1, 2, 3])
    assert (result.pairs, result.mean, result.std, result.p) == (3, 2, 1, 0.25)  # 2 of 8 flips are as far from 0
    assert math.isnan(result.interval.low)  # three pairs decide nothing
    six = inference.paired([1, 2, 3, 4, 5, 6])
    assert six.p == pytest.approx(2 / 64)
    half = 2.5705818 * math.sqrt(3.5 / 6)  # t of 5 degrees of freedom; variance 3.5
    assert six.interval == pytest.approx((3.5 - half, 3.5 + half))
    assert inference.paired([-2, -1, 3]).p == 1
    assert inference.paired([0, 0, 0]).p == 1
    assert math.isnan(inference.paired([4]).p)
    assert inference.paired([]).pairs == 0


@given(samples(2, 8))
@settings(max_examples=60, deadline=None)
def test_the_sign_flip_test_is_the_enumeration(values: list[float]) -> None:
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    observed, slack = sum(values), 1e-9
    at_least = sum(s >= observed - slack for s in sums) / len(sums)
    at_most = sum(s <= observed + slack for s in sums) / len(sums)
    assert inference.paired(values).p == pytest.approx(min(1, 2 * min(at_least, at_most)))


@given(samples(2, 7))
@settings(max_examples=40, deadline=None)
def test_no_p_is_below_the_smallest_that_so_many_pairs_can_give(values: list[float]) -> None:
    assert inference.paired(values).p >= inference.smallest_p(len(values)) - 1e-12
    assert inference.paired([1.0] * len(values)).p == pytest.approx(inference.smallest_p(len(values)))


def test_what_few_pairs_can_decide() -> None:
    assert [inference.smallest_p(n) for n in (0, 1, 2, 3, 6)] == [1, 1, 0.5, 0.25, 1 / 32]
    assert not inference.decidable(5)
    assert inference.decidable(6)
    assert not inference.decidable(7, comparisons=5)
    assert inference.fewest_pairs(5) == 8


def test_many_pairs_are_sampled_and_repeatable() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 40)
    assert inference.paired(values).p == inference.paired(values).p
    assert inference.paired(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)


def test_holm_by_hand() -> None:
    assert list(inference.holm([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    corrected = inference.holm([0.02, math.nan, 0.5])
    assert list(corrected[[0, 2]]) == pytest.approx([0.04, 0.5])
    assert math.isnan(corrected[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_against_its_definition(ps: list[float]) -> None:
    expected = [0.0] * len(ps)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        expected[index] = running
    assert list(inference.holm(ps)) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_against_statsmodels(ps: list[float]) -> None:
    values = np.array(ps, dtype=np.float64)
    known = ~np.isnan(values)
    expected = np.full(len(values), math.nan)
    if known.any():
        with patch("gc.collect"):  # statsmodels calls it every time, which takes half a second
            expected[known] = multipletests(values[known], method="holm")[1]
    np.testing.assert_array_equal(inference.holm(ps), expected)


@given(samples(1, 6), samples(1, 6))
@settings(max_examples=50, deadline=None)
def test_probability_of_improvement_counts_pairs(ours: list[float], theirs: list[float]) -> None:
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs)
    assert inference.probability_of_improvement([ours], [theirs])[0] == pytest.approx(wins / len(ours) / len(theirs))


def test_probability_over_tasks_is_the_mean_of_theirs() -> None:
    probability, interval = inference.probability_of_improvement([[3, 4], [0, 1]], [[1, 2], [0, 1]])
    assert probability == pytest.approx((1 + 0.5) / 2)
    assert math.isnan(interval.low)  # four runs each


def brown_forsythe(*groups: list[float]) -> float:
    """p by the analysis of variance of absolute deviations from medians, written out."""
    deviations = [[abs(x - float(np.median(group))) for x in group] for group in groups]
    total = sum(map(len, groups))
    grand = sum(map(sum, deviations)) / total
    means = [sum(d) / len(d) for d in deviations]
    between = sum(len(d) * (m - grand) ** 2 for d, m in zip(deviations, means, strict=True)) / (len(groups) - 1)
    within = sum((x - m) ** 2 for d, m in zip(deviations, means, strict=True) for x in d) / (total - len(groups))
    return float(stats.f.sf(between / within, len(groups) - 1, total - len(groups)))


def test_equality_of_variances() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.normal(0, 1, 7), rng.normal(0, 3, 9)
        assert inference.brown_forsythe(ours, theirs) == pytest.approx(brown_forsythe(list(ours), list(theirs)))
    assert math.isnan(inference.brown_forsythe([1, 2, 3, 4], [1, 2, 3, 4, 9]))
    assert inference.brown_forsythe([1] * 5, [2] * 5) == 1


def test_variance_ratio() -> None:
    assert inference.variance_ratio([1, 3], [1, 2])[0] == pytest.approx(2 / 0.5)
    assert inference.variance_ratio([1, 3], [1, 2])[1] is NO_INTERVAL
    assert inference.variance_ratio([1, 2], [5, 5])[0] == math.inf
    assert math.isnan(inference.variance_ratio([1, 1], [5, 5])[0])
    assert math.isnan(inference.variance_ratio([1], [5, 5])[0])


def percentiles(drawn: list[float]) -> tuple[float, float]:
    ordered = sorted(drawn)
    return ordered[round(0.025 * len(ordered))], ordered[round(0.975 * len(ordered)) - 1]


def test_bootstrap_intervals_against_a_loop() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 12), rng.normal(2, 3, 9)

    def again(values: np.ndarray) -> np.ndarray:
        return values[rng.integers(len(values), size=len(values))]

    def iqm(values: np.ndarray) -> float:
        cut = int(0.25 * len(values))
        return float(np.mean(sorted(values)[cut : len(values) - cut]))

    def wins(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.mean(x > b) + np.mean(x == b) / 2 for x in a]))

    expected = percentiles([iqm(np.concatenate([again(first), again(second)])) for _ in range(4000)])
    assert inference.iqm_interval([first, second]) == pytest.approx(expected, abs=0.15)
    expected = percentiles([wins(again(first), again(second)) for _ in range(4000)])
    assert inference.probability_of_improvement([first], [second])[1] == pytest.approx(expected, abs=0.03)
    expected = percentiles([float(np.var(again(first), ddof=1) / np.var(again(second), ddof=1)) for _ in range(4000)])
    assert inference.variance_ratio(first, second)[1] == pytest.approx(expected, rel=0.2)
    assert inference.variance_ratio(first, second) == inference.variance_ratio(first, second)


def test_no_interval_of_few_values() -> None:
    assert math.isnan(inference.iqm_interval([[1, 2, 3, 4]]).low)
    assert inference.iqm_interval([[2, 2, 2, 2, 2]]) == (2, 2)
    assert math.isnan(inference.iqm_interval([]).low)
    assert math.isnan(inference.mean_interval([3]).low)
    assert inference.mean_interval([1, 3]) == pytest.approx((2 - 12.706205, 2 + 12.706205))


def noncentral(effect: float, n: int, level: float) -> float:
    """Of a two-sided paired t-test, by the noncentral t distribution."""
    critical = stats.t.ppf(1 - level / 2, n - 1)
    shift = effect * math.sqrt(n)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))


@pytest.mark.parametrize(("effect", "comparisons"), [(0.3, 1), (0.5, 3), (1.0, 5), (0.9, 1)])
def test_seeds_needed_is_the_smallest_with_the_power(effect: float, comparisons: int) -> None:
    values = np.array([-1, 1, -1, 1, 0.0])
    values = values / values.std(ddof=1) + effect
    needed = power.seeds_needed(values, comparisons)
    assert needed is not None
    assert noncentral(effect, needed, 0.05 / comparisons) >= 0.8
    assert noncentral(effect, needed - 1, 0.05 / comparisons) < 0.8


@given(st.floats(0.01, 5), st.integers(2, 1000), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_the_power_against_statsmodels(effect: float, pairs: int, comparisons: int) -> None:
    level = 0.05 / comparisons
    ours, theirs = power.paired_power(effect, np.array([pairs]), level), TTestPower().power(effect, pairs, level)
    np.testing.assert_array_equal(ours, [theirs])


def test_seeds_needed_at_its_ends() -> None:
    assert power.seeds_needed([1, 1, 1]) == 6  # no variance: what the sign-flip test needs
    assert power.seeds_needed([5, 5.1, 4.9], comparisons=5) == 8
    assert power.seeds_needed([1, -1]) is None
    assert power.seeds_needed([1, -1.0001, 0.001, -0.0005]) is None
    assert power.seeds_needed([1]) is None


def test_variance_components_by_hand() -> None:
    found = inference.variance_components([[1, 2, 3], [4, 5, 6]])
    assert found.seed == pytest.approx(1)
    assert found.split == pytest.approx((13.5 - 1) / 3)  # mean squares 13.5 and 1, three seeds each
    assert inference.variance_components([[1, 5], [2, 4]]).split == 0
    assert math.isnan(inference.variance_components([[1, 2, 3]]).seed)
    assert math.isnan(inference.variance_components([[1], [2]]).seed)


def test_variance_components_find_what_was_put_in() -> None:
    rng = np.random.default_rng(5)
    splits = [rng.normal(rng.normal(0, 2), 0.5, int(rng.integers(3, 9))) for _ in range(400)]
    found = inference.variance_components(splits)
    assert found.seed == pytest.approx(0.25, rel=0.1)
    assert found.split == pytest.approx(4, rel=0.2)


def test_runs_that_would_show_a_ratio_of_variances() -> None:
    assert [power.runs_needed(ratio) for ratio in (0.0, 1.0, math.inf, math.nan, 0.99)] == [None] * 5
    rng = np.random.default_rng(1)
    for ratio in (0.1, 0.25):
        n = power.runs_needed(ratio)
        assert n is not None
        for runs, least, most in ((n, 0.74, 0.9), (round(0.6 * n), 0.0, 0.7)):
            found = [
                inference.brown_forsythe(ratio**0.5 * rng.normal(size=runs), rng.normal(size=runs)) <= 0.05
                for _ in range(400)
            ]
            assert least <= np.mean(found) <= most

"""Statistics by hand, and against slow implementations that share nothing with them."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from prunebench.harness.analysis.statistics import inference

NUMBERS = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))


def samples(low: int, high: int) -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=low, max_size=high)


def test_iqm_by_hand() -> None:
    assert inference.iqm([1, 2, 3, 100]) == 2.5
    assert inference.iqm([9, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert inference.iqm([1, 5, 9]) == 5


def test_holm_by_hand() -> None:
    found = inference.holm([0.01, 0.04, 0.03])
    assert [c.p for c in found] == pytest.approx([0.03, 0.06, 0.06])
    assert [c.level for c in found] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2])  # the second step stops
    untested = inference.holm([0.02, math.nan, 0.5])
    assert [c.p for c in untested] == pytest.approx([0.04, math.nan, 0.5], nan_ok=True)
    assert inference.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.3]))
def test_a_level_is_passed_where_the_corrected_p_is(ps: list[float], alpha: float) -> None:
    for p, found in zip(ps, inference.holm(ps, alpha), strict=True):
        assert (p <= found.level) == (found.p <= alpha) or abs(p - found.level) < 1e-12


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_against_statsmodels(ps: list[float]) -> None:
    values = np.array(ps, dtype=np.float64)
    known = ~np.isnan(values)
    expected = np.full(len(values), math.nan)
    if known.any():
        with patch("gc.collect"):  # statsmodels calls it every time, which takes half a second
            expected[known] = multipletests(values[known], method="holm")[1]
    np.testing.assert_array_equal([c.p for c in inference.holm(ps)], expected)


@given(samples(1, 6), samples(1, 6))
@settings(max_examples=50, deadline=None)
def test_probability_of_improvement_counts_pairs(ours: list[float], theirs: list[float]) -> None:
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs)
    assert inference.probability_of_improvement([(ours, theirs)]) == pytest.approx(wins / len(ours) / len(theirs))


def test_probability_over_tasks_is_the_mean_of_theirs() -> None:
    found = inference.probability_of_improvement([([3, 4], [1, 2]), ([0, 1], [0, 1])])
    assert found == pytest.approx((1 + 0.5) / 2)


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

    expected = percentiles([iqm(np.concatenate([again(first), again(second)])) for _ in range(4000)])
    assert inference.iqm_interval([first, second]) == pytest.approx(expected, abs=0.15)


def test_no_interval_of_few_values() -> None:
    assert math.isnan(inference.iqm_interval([[1, 2, 3, 4]]).low)
    assert inference.iqm_interval([[2, 2, 2, 2, 2]]) == (2, 2)
    assert math.isnan(inference.iqm_interval([]).low)
    assert math.isnan(inference.mean_interval([3]).low)
    assert inference.mean_interval([1, 3]) == pytest.approx((2 - 12.706205, 2 + 12.706205))


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

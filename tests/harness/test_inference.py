"""Statistics by hand, and against slow implementations that share nothing with them."""

from __future__ import annotations

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
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


def test_intervals_of_means() -> None:
    assert math.isnan(inference.mean_interval([3]).low)
    assert math.isnan(inference.mean_interval().low)
    assert inference.mean_interval([1, 3]) == pytest.approx((2 - 12.706205, 2 + 12.706205))
    assert inference.mean_interval([2, 2], [4, 4]) == (3, 3)
    first, second = [1.0, 2, 4], [10.0, 11, 15, 16]  # half the sum of means: as of a difference, with one sign turned
    expected = stats.ttest_ind(first, [-v for v in second], equal_var=False).confidence_interval(0.95)
    assert inference.mean_interval(first, second) == pytest.approx((expected.low / 2, expected.high / 2))


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

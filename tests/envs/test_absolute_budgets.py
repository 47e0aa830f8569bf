"""Budgets as absolute numbers: how they are read and said, and what is no budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.envs.environment.budget import Budget, BudgetError
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks import budgets
from prunebench.envs.tasks.budgets import Limit

SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@given(st.integers(1, 10**6), st.integers(0, 3), st.sampled_from(["", "K", "M", "G"]), st.booleans())
def test_a_count_is_what_it_says(digits: int, decimals: int, suffix: str, small: bool) -> None:
    """``1.234M`` is 1,234,000 exactly; what is left of a whole number is cut off, as a limit must be."""
    text = f"{digits // 10**decimals}.{digits % 10**decimals:0{decimals}d}" if decimals else str(digits)
    expected = digits * SIZES[suffix] // 10**decimals
    typed = text + (suffix.lower() if small else suffix)
    if expected < 1:
        with pytest.raises(TaskError, match=r"expected (1 or more|a number above 0), "):
            budgets.read("macs", typed)
        return
    found = budgets.read("macs", typed)
    assert found == Limit("macs", expected)
    name, value = found.option
    assert budgets.read(name, value) == found  # as a file of settings says it again
    assert str(found) == f"{expected:,} MACs"
    assert budgets.read("macs", found.short.removeprefix("macs")) == found


@given(st.text(max_size=8))
def test_any_other_text_is_refused_in_one_line(text: str) -> None:
    try:
        number = float(text) * 1e6 if not text.strip().startswith(("+", "-")) else 0.0
    except ValueError:
        number = 0.0
    if 1 <= number < math.inf:
        assert budgets.read("latency_ms", text).limit == pytest.approx(number)
        return
    with pytest.raises(TaskError, match=r"expected a number above 0, as 4\.0 \(ms per image\)"):
        budgets.read("latency_ms", text)


@pytest.mark.parametrize(("name", "value"), [("latency_ms", "4M"), ("macs", True), ("macs", -1), ("params", "nan")])
def test_what_is_no_budget(name: str, value: object) -> None:
    with pytest.raises(TaskError, match=name.replace("_", "-")):
        budgets.read(name, value)


MODEL = CostModel(np.array([3.0, 5.0]), np.array([[2.0, 0, 0], [0, 1, 0]]), np.array([[0, 1.0, 0], [0, 0, 1]]))
CHANNELS = (20, 30)  # 6 n1 + 5 n1 n2: 3120 in all, 42 with 2 and 3


@given(st.integers(1, 4000))
def test_its_fraction_allows_exactly_as_much(limit: int) -> None:
    wanted = Limit("macs", limit)
    if 42 <= limit <= 3120:
        assert Budget.of(MODEL, CHANNELS, 0.1, wanted.share(MODEL, CHANNELS, 0.1)).limit == limit
        return
    nearest = "42 MACs: expected that or more" if limit < 42 else "3,120 MACs: expected that or less"
    with pytest.raises(BudgetError, match=nearest):
        wanted.share(MODEL, CHANNELS, 0.1)


@pytest.mark.parametrize(("limit", "nearest"), [(1e6, 2_345_001.0), (9e6, 4_567_999.0)])
def test_the_nearest_latency_can_be_met(limit: float, nearest: float) -> None:
    """It is rounded for people, towards what holds."""
    with pytest.raises(BudgetError) as refused:
        Limit("latency", limit).of(4_567_999.0, 2_345_001.0, 0.1)
    said = float(str(refused.value).split(" ms per image")[0].split()[-1])
    assert 2_345_001.0 <= said * 1e6 <= 4_567_999.0
    assert said * 1e6 == pytest.approx(nearest, rel=1e-3)

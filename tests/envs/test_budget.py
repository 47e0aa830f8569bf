from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.envs.environment.budget import Budget, BudgetError
from prunebench.envs.environment.cost import CostModel


@st.composite
def chains(draw: st.DrawFn) -> Budget:
    """A chain of layers, each reading the one before: the products couple neighbouring layers."""
    depth = draw(st.integers(1, 8))
    channels = np.array(draw(st.lists(st.integers(1, 40), min_size=depth, max_size=depth)))
    weight = np.array(draw(st.lists(st.integers(1, 500), min_size=depth + 1, max_size=depth + 1)), dtype=float)
    inputs, outputs = np.zeros((depth + 1, depth + 1)), np.zeros((depth + 1, depth + 1))
    for i in range(depth):
        outputs[i, i + 1] = inputs[i + 1, i + 1] = 1
    inputs[0, 0], outputs[depth, 0] = 3, 10
    cost = CostModel(weight, inputs, outputs)
    lower, round_to = draw(st.floats(0.05, 0.4)), draw(st.sampled_from([1, 1, 2, 6, 8]))
    least = cost([slow_least(lower, whole, round_to) for whole in channels])
    share = draw(st.floats(0, 1))
    return Budget(cost, channels, lower, float(least + share * (cost(channels) - least)), round_to=round_to)


def slow_count(ratio: float, channels: int, round_to: int) -> int:
    """The nearest multiple of the largest common divisor, the larger one of two, by trying them all."""
    step = max(d for d in range(1, round_to + 1) if round_to % d == 0 and channels % d == 0)
    wanted = ratio * (channels // step)  # in steps
    return min(range(step, channels + 1, step), key=lambda count: (abs(wanted - count // step), -count))


def slow_least(bound: float, channels: int, round_to: int) -> int:
    """The fewest channels at a lower bound: of blocks none fewer than it says, of channels the nearest number."""
    step = max(d for d in range(1, round_to + 1) if round_to % d == 0 and channels % d == 0)
    if step == 1:
        return slow_count(bound, channels, round_to)
    return next(count for count in range(step, channels + 1, step) if count >= bound * channels - 1e-6)


def policy(data: st.DataObject, budget: Budget) -> np.ndarray:
    depth = len(budget.channels)
    return np.array(data.draw(st.lists(st.floats(budget.lower_bound, 1), min_size=depth, max_size=depth)))


def slow_cost(budget: Budget, counts: np.ndarray) -> float:
    sides = [1, *counts]
    total = 0.0
    for weight, inputs, outputs in zip(budget.cost.weight, budget.cost.inputs, budget.cost.outputs, strict=True):
        n_in = sum(a * b for a, b in zip(inputs, sides, strict=True))
        total += weight * n_in * sum(a * b for a, b in zip(outputs, sides, strict=True))
    return total


def slow_wall(budget: Budget, ratios: np.ndarray) -> list[int]:
    """AMC's action wall, one channel (or block of them) at a time."""
    kept: list[int] = []
    for t, ratio in enumerate(ratios):
        rest = list(budget.lower_counts[t + 1 :])
        count = max(int(budget.lower_counts[t]), slow_count(ratio, int(budget.channels[t]), budget.round_to))
        while count > budget.lower_counts[t] and slow_cost(budget, np.array([*kept, count, *rest])) > budget.limit:
            count -= int(budget.block[t])
        kept.append(count)
    return kept


def walled(budget: Budget, ratios: np.ndarray) -> list[int]:
    kept: list[int] = []
    for ratio in ratios:
        kept.append(budget.wall(kept, ratio))
    return kept


@given(chains(), st.data())
def test_cost_is_the_sum_over_layers(budget: Budget, data: st.DataObject) -> None:
    ratios = policy(data, budget)
    counts = budget.counts(ratios)
    assert budget.cost(counts) == slow_cost(budget, counts)
    assert [budget.count(layer, ratio) for layer, ratio in enumerate(ratios)] == counts.tolist()


@given(chains(), st.data())
@settings(max_examples=200)
def test_projection_is_on_budget_full_and_idempotent(budget: Budget, data: st.DataObject) -> None:
    counts = budget.project(policy(data, budget))
    assert (counts >= budget.lower_counts).all()
    assert (counts <= budget.channels).all()
    assert slow_cost(budget, counts) <= budget.limit
    nearest = [slow_count(n / all_, all_, budget.round_to) for n, all_ in zip(counts, budget.channels, strict=True)]
    assert nearest == counts.tolist()
    for i in np.flatnonzero(counts < budget.channels):
        assert slow_cost(budget, counts + np.diag(budget.block)[i]) > budget.limit
    assert (budget.project(budget.ratios(counts)) == counts).all()


@given(chains(), st.data())
@settings(max_examples=200)
def test_wall_never_exceeds_the_budget_and_is_amcs(budget: Budget, data: st.DataObject) -> None:
    ratios = policy(data, budget)
    kept = walled(budget, ratios)
    assert slow_cost(budget, np.array(kept)) <= budget.limit
    assert kept == slow_wall(budget, ratios)


@given(chains(), st.data())
def test_a_policy_on_budget_passes_the_wall_untouched(budget: Budget, data: st.DataObject) -> None:
    counts = budget.project(policy(data, budget))
    float32 = budget.ratios(counts).astype(np.float32).astype(float)  # as it comes through the action space
    assert walled(budget, float32) == list(counts)


@given(chains(), st.data())
def test_shift_meets_the_unrounded_budget(budget: Budget, data: st.DataObject) -> None:
    ratios = budget.shift(policy(data, budget))
    cost = budget.cost(ratios * budget.channels)
    assert cost <= budget.limit
    if not np.allclose(ratios, 1):
        assert cost == pytest.approx(budget.limit, rel=1e-6)


@given(chains(), st.data())
def test_shift_of_many_policies_is_each_ones_shift(budget: Budget, data: st.DataObject) -> None:
    policies = np.stack([policy(data, budget) for _ in range(3)])
    np.testing.assert_allclose(budget.shift(policies), [budget.shift(p) for p in policies], atol=1e-9)


def test_projection_does_not_depend_on_the_order_of_layers() -> None:
    weight = np.array([100.0, 70.0, 31.0])
    inputs = np.hstack([np.zeros((3, 1)), np.eye(3)])
    outputs = np.hstack([np.ones((3, 1)), np.zeros((3, 3))])
    ratios, channels = np.array([0.9, 0.3, 0.5]), np.array([32, 48, 64])
    straight = Budget(CostModel(weight, inputs, outputs), channels, 0.1, 4000.0).project(ratios)
    turned = Budget(CostModel(weight[::-1], inputs, outputs), channels[::-1], 0.1, 4000.0).project(ratios[::-1])
    assert list(straight) == list(turned[::-1])


def test_no_layer_keeps_a_block_less_than_the_lower_bound_says() -> None:
    one = CostModel(np.ones(1), np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    fewest = {(bound, n): int(Budget.of(one, [n], bound, 1.0, round_to=8).lower_counts[0]) for bound, n in LEAST}
    assert fewest == LEAST


LEAST = {(0.1, 96): 16, (0.1, 80): 8, (0.7, 32): 24, (0.75, 32): 24, (1.0, 32): 32, (0.1, 3): 1}


def test_a_budget_below_the_lower_bound_names_what_is_possible() -> None:
    cost = CostModel(np.ones(1), np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    with pytest.raises(BudgetError, match=r"0\.001 .*lower bound 0\.1 .*still costs 0\.1000"):
        Budget(cost, np.array([1000]), 0.1, 1.0)
    with pytest.raises(BudgetError, match=r"lower bound 0\.1 and in multiples of 8 \(round-to\) .*still costs 0\.5000"):
        Budget(cost, np.array([16]), 0.1, 1.0, round_to=8)


def test_a_limit_just_below_a_whole_cost_is_not_rounded_up() -> None:
    cost = CostModel(np.ones(1), np.array([[0.0, 1.0, 1.0]]), np.array([[1.0, 0.0, 0.0]]))
    counts = Budget(cost, np.array([32, 32]), 0.1, np.nextafter(51.0, 0)).project(np.ones(2))
    assert counts.sum() == 50


def one_layer(channels: int, weight: float = 1.0) -> CostModel:
    return CostModel(np.array([weight]), np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))


@pytest.mark.parametrize(
    ("preserve", "allowed"), [(0.41, 41), (0.57, 57), (0.69, 69), (0.82, 82), (0.29, 29), (0.415, 41), (1.0, 100)]
)
def test_a_fraction_of_a_hundred_is_that_many(preserve: float, allowed: int) -> None:
    assert Budget.of(one_layer(100), [100], 0.1, preserve).limit == allowed


@given(st.data())
def test_a_fraction_allows_as_much_as_in_exact_arithmetic(data: st.DataObject) -> None:
    q, channels = data.draw(st.integers(1, 1000)), data.draw(st.integers(1, 4096))
    p, weight = data.draw(st.integers(1, q)), data.draw(st.integers(1, 10**6))
    budget = Budget.of(one_layer(channels, weight), [channels], 1e-9, p / q) if p * channels >= q else None
    if budget is not None:
        assert budget.limit == p * channels * weight // q


@given(st.integers(1, 4096), st.floats(1e-3, 1e9), st.floats(0.2, 1))
def test_a_measured_cost_is_limited_as_it_is(channels: int, weight: float, preserve: float) -> None:
    cost = one_layer(channels, weight)
    dense = float(cost([channels]))
    assert Budget.of(cost, [channels], 1e-9, 1.0).feasible([channels])
    if preserve * channels >= 1 and not dense.is_integer():
        assert Budget.of(cost, [channels], 1e-9, preserve).limit == pytest.approx(preserve * dense, rel=1e-14)


@given(chains(), st.data(), st.booleans())
@settings(max_examples=200)
def test_the_budget_is_filled_as_if_every_channel_were_priced_anew(
    budget: Budget, data: st.DataObject, rounded: bool
) -> None:
    weight = budget.cost.weight / 7 if rounded else budget.cost.weight  # sevenths are rounded, whole numbers are not
    cost = CostModel(weight, budget.cost.inputs, budget.cost.outputs)
    budget = replace(budget, cost=cost, limit=float(cost(budget.lower_counts)) + budget.limit / 7)
    wanted = policy(data, budget)
    counts = budget.project(wanted)
    ideal = budget.shift(wanted) * budget.channels
    block = budget.block
    slow = np.maximum(np.floor(ideal / block).astype(int) * block, budget.lower_counts)
    while fitting := [i for i in range(len(slow)) if slow[i] < budget.channels[i] and fits_one_more(budget, slow, i)]:
        layer = max(fitting, key=lambda i: ((ideal[i] - slow[i]) / block[i], -i))
        slow[layer] += block[layer]
    already = np.maximum(budget.counts(wanted), budget.lower_counts)
    assert counts.tolist() in (slow.tolist(), already.tolist())
    assert budget.feasible(counts)
    assert not any(counts[i] < budget.channels[i] and fits_one_more(budget, counts, i) for i in range(len(counts)))


def fits_one_more(budget: Budget, counts: np.ndarray, layer: int) -> bool:
    return bool(budget.cost(counts + np.diag(budget.block)[layer]) <= budget.limit)


@given(chains(), st.data())
def test_a_budget_that_need_not_be_filled_is_an_upper_bound(budget: Budget, data: st.DataObject) -> None:
    loose = replace(budget, fill=False)
    wanted = policy(data, budget)
    rounded = np.maximum(budget.counts(wanted), budget.lower_counts)
    counts = loose.project(wanted)
    if budget.feasible(rounded):
        assert counts.tolist() == rounded.tolist()
    else:
        assert counts.tolist() == budget.project(wanted).tolist()
    assert (budget.cost(loose.shift(wanted) * budget.channels) <= budget.limit * (1 + 1e-9)).all()


def test_a_budget_at_the_lower_bound_of_a_wide_layer_is_met_from_anywhere() -> None:
    budget = Budget(one_layer(4096), np.array([4096]), 1e-4, 1.0)
    assert budget.project([1.0]).tolist() == [1]


@given(chains(), st.data())
def test_what_a_layer_alone_changes_is_the_difference_of_two_costs(budget: Budget, data: st.DataObject) -> None:
    counts, other = budget.counts(policy(data, budget)), budget.counts(policy(data, budget))
    for layer, change in enumerate(budget.cost.change(counts, other - counts)):
        changed = np.where(np.arange(len(counts)) == layer, other, counts)
        assert change == slow_cost(budget, changed) - slow_cost(budget, counts)


@given(chains(), st.data(), st.sampled_from(["wall", "project"]))
def test_what_the_environment_realises_is_known_beforehand(budget: Budget, data: st.DataObject, mode: str) -> None:
    wanted = policy(data, budget)
    expected = slow_wall(budget, wanted) if mode == "wall" else budget.project(wanted).tolist()
    assert replace(budget, mode=mode).realised(wanted).tolist() == expected

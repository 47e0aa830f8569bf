"""The knapsack against every choice there is, the additive cost, and the search over coefficients."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import Recording

from prunebench.agents.random_search import RandomSearchAgent
from prunebench.agents.spdy import LEVELS, Allocation, Schedule, SPDYAgent, knapsack
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, Score
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.environment.toy import ToyEvaluator


def chain(layers: int, channels: int = 12, preserve: float = 0.4) -> Budget:
    """Convolutions in a row, 3 channels in and 10 out: each but the ends costs the product of two layers' counts."""
    inputs = np.eye(layers + 1)
    inputs[0, 0] = 3
    outputs = np.roll(np.eye(layers + 1), -1, axis=0)
    outputs[-1] = 10 * np.eye(layers + 1)[0]
    cost = CostModel(1.0 + np.arange(layers + 1) % 3, inputs, outputs)
    counts = np.full(layers, channels)
    return Budget(cost, counts, 0.1, np.floor(preserve * float(cost(counts))))


class Interacting(ToyEvaluator):
    """Losses that single layers add, ``weights * (1 / ratio - 1)``, and neighbours that make each other worse."""

    weights = np.array([0.2, 0.001, 0.1, 0.02, 0.05, 0.15, 0.005, 0.08])

    def score(self, counts: tuple[int, ...]) -> Score:
        self.calls += 1
        added = self.weights * (np.asarray(self.layers["channels"]) / np.asarray(counts) - 1)
        loss = float(added.sum() + 3 * added[1:] @ added[:-1])
        return Score(float(np.exp(-loss)), loss)


def searched(agent: Any, evaluations: int) -> list[dict[str, Any]]:
    env = Recording(ChannelPruningEnv(Interacting(8), preserve=0.3))
    agent.search(env, evaluations)
    return env.records


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_the_knapsack_is_the_best_of_every_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, levels, capacity = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(0, 30))
    losses, costs = rng.normal(size=(layers, levels)), rng.integers(0, 15, (layers, levels))
    costs[np.arange(layers), rng.integers(levels, size=layers)] = 0
    every = np.array(list(itertools.product(range(levels), repeat=layers)))
    sums = {name: table[np.arange(layers), every].sum(axis=1) for name, table in (("loss", losses), ("cost", costs))}
    chosen = knapsack(losses, costs, capacity)
    assert costs[np.arange(layers), chosen].sum() <= capacity
    assert losses[np.arange(layers), chosen].sum() == pytest.approx(sums["loss"][sums["cost"] <= capacity].min())


def test_the_additive_cost_is_exact_for_a_change_of_one_layer() -> None:
    budget = chain(5)
    around = budget.project(np.array([0.2, 0.8, 0.4, 0.9, 0.3]))
    allocation = Allocation(budget, np.ones((5, 1)), np.array([0.5]))
    costs, room = allocation.additive(around, budget.limit)
    levels = np.linspace(budget.lower_counts, budget.channels, LEVELS).round().astype(int)
    at = np.array([int(np.flatnonzero(levels[:, i] == around[i])[0]) for i in range(5)])
    spent = costs[at, range(5)].sum()
    assert room - spent == pytest.approx(budget.limit - budget.cost(around))
    for layer, level in itertools.product(range(5), (0, 11, LEVELS - 1)):
        changed = around.copy()
        changed[layer] = levels[level, layer]
        added = costs[level, layer] - costs[at[layer], layer]
        assert added == pytest.approx(budget.cost(changed) - budget.cost(around))
    assert (costs >= 0).all()
    assert room >= 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_an_allocation_is_as_good_as_the_best_of_all(seed: int) -> None:
    """Four layers of 8 channels whose costs are products, every policy tried; rounding and filling cost a little."""
    rng = np.random.default_rng(seed)
    budget, weights = chain(4, channels=8), rng.uniform(0.05, 1, 4)
    coefficients = rng.uniform(0.1, 1, 4)
    allocation = Allocation(budget, weights[:, None] * np.array([1.0]), np.array([0.5]))
    every = np.array(list(itertools.product(range(1, 9), repeat=4)))
    every = every[budget.cost(every) <= budget.limit]
    floored = np.maximum(weights, 0.2 * weights.mean()) * coefficients
    best = (floored * (8 / every - 1)).sum(axis=1).min()
    counts = allocation.best(np.append(coefficients, 1.0), budget.uniform())
    assert budget.feasible(counts)
    assert (floored * (8 / counts - 1)).sum() <= 1.2 * best + 1e-9


def test_fewer_coefficients_are_drawn_anew_after_failures_in_a_row() -> None:
    schedule = Schedule(30, 100)  # 10 random, then 90 for 3, 2 and 1 of them, 15 failures each
    drawn = []
    for number in range(100):
        drawn.append(schedule.resampled)
        schedule.count(number == 20)
    assert drawn == [30] * 10 + [3] * (11 + 15) + [2] * 15 + [1] * 49
    assert Schedule(1, 0).resampled == 1


def test_coefficients_that_are_better_stay_and_few_of_them_change() -> None:
    agent = SPDYAgent(seed=0)
    allocation = Allocation(chain(40), np.ones((40, 1)), np.array([0.5]))
    agent.budget, agent.rng = chain(40), np.random.default_rng(0)
    agent.seen = ()  # type: ignore[assignment] # no policy is known
    best = np.append(np.full(40, 0.5), 1.0)
    other, counts = agent._other(allocation, best, agent.budget.uniform(), 4)
    assert 1 <= (other != best).sum() <= 4
    assert agent.budget.feasible(counts)
    everything, _ = agent._other(allocation, best, agent.budget.uniform(), 40)
    assert (everything != best).tolist() == [True] * 40 + [False]  # the budget is spent


def test_how_much_is_spent_is_a_coefficient_too_where_it_need_not_be_all() -> None:
    budget = replace(chain(40), fill=False)
    allocation = Allocation(budget, np.ones((40, 1)), np.array([0.5]))
    costs = [
        float(budget.cost(allocation.best(np.append(np.full(40, 0.5), share), budget.uniform())))
        for share in (0.0, 0.3, 0.6, 1.0)
    ]
    assert costs == sorted(costs)
    assert costs[0] == budget.cost(budget.lower_counts)
    assert costs[1] < 0.8 * costs[3] < costs[3] <= budget.limit


def test_it_probes_then_evaluates_the_knapsacks_policy_and_improves_on_it() -> None:
    found = searched(SPDYAgent(seed=0), 80)
    assert len(found) == 80
    assert [record["feasible"] for record in found[:17]] == [False] * 17  # dense, and two ratios of each layer
    assert all(record["feasible"] for record in found[17:])
    assert len({tuple(record["channels"]) for record in found}) == 80
    first, best = found[17]["loss"], min(record["loss"] for record in found[17:])
    random = [min(r["loss"] for r in searched(RandomSearchAgent(seed=seed), 80)) for seed in range(5)]
    assert best < first < min(random)


@pytest.mark.parametrize("evaluations", [1, 2, 3, 5])
@pytest.mark.parametrize("layers", [1, 2])
def test_few_evaluations_of_few_layers(layers: int, evaluations: int) -> None:
    env = Recording(ChannelPruningEnv(ToyEvaluator(layers), preserve=0.4))
    SPDYAgent(seed=0).search(env, evaluations)
    assert len(env.records) == evaluations
    assert env.records[-1]["feasible"]


def test_a_probe_without_a_loss_does_not_end_the_search() -> None:
    class Broken(Interacting):
        def score(self, counts: tuple[int, ...]) -> Score:
            lost = counts[3] < 16 and sum(counts) == 7 * 32 + counts[3]
            return Score(0.1, float("nan")) if lost else super().score(counts)

    env = Recording(ChannelPruningEnv(Broken(8), preserve=0.3))
    SPDYAgent(seed=0).search(env, 40)
    assert np.isnan([record["loss"] for record in env.records]).any()
    kept = np.array([record["realised"] for record in env.records[17:]])
    assert kept[0, 3] > kept[0, 4]  # what was worst there counts as sensitive
    assert len(np.unique(kept, axis=0)) == 23


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="signal 'luck': expected one of reward, loss"):
        SPDYAgent(seed=0, signal="luck")  # type: ignore[arg-type]

"""All channels in one ranking, against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import Recording

from prunebench.agents.global_ranking import GlobalRankingAgent, ranked
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import BUDGET_MODES
from prunebench.envs.environment.toy import toy_env


def by_hand(budget: Budget, importance: list[Any]) -> list[int]:
    """One channel after another."""
    counts = budget.channels.tolist()
    channels = sorted(
        (value / np.mean(values), layer)
        for layer, values in enumerate(importance)
        for value in sorted(values)[: len(values) - budget.lower_counts[layer]]
    )
    removed = []
    for _, layer in channels:
        if budget.feasible(counts):
            break
        counts[layer] -= 1
        removed.append(layer)
    for layer in reversed(removed):
        more = [count + (layer == i) for i, count in enumerate(counts)]
        counts = more if budget.feasible(more) else counts
    return counts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.12, 1.0))
def test_it_is_the_plain_loop(seed: int, layers: int, preserve: float) -> None:
    budget, rng = toy_env(layers, preserve=preserve).budget, np.random.default_rng(seed)
    importance = [rng.permutation(rng.gamma(1 + i, size=32)) for i in range(layers)]
    counts = ranked(budget, importance)
    assert counts.tolist() == by_hand(budget, importance)
    assert budget.project(budget.ratios(counts)).tolist() == counts.tolist()  # nothing more fits
    assert (counts >= budget.lower_counts).all()


def test_only_differences_within_a_layer_count() -> None:
    """A layer of large weights keeps no more for that; one whose channels are alike loses none before those below."""
    budget, values = toy_env(2, preserve=0.5).budget, np.linspace(1, 2, 32)
    once = ranked(budget, [values, values])
    assert ranked(budget, [1000 * values, values]).tolist() == once.tolist()
    assert ranked(budget, [np.ones(32), np.append(np.full(31, 0.5), 16.5)]).tolist()[1] == budget.lower_counts[1]
    assert budget.feasible(ranked(budget, [np.zeros(32), np.zeros(32)]))


@pytest.mark.parametrize("budget", BUDGET_MODES)
@pytest.mark.parametrize("layers", [1, 5, 60])
def test_it_is_one_evaluation_on_budget(layers: int, budget: str) -> None:
    env = Recording(toy_env(layers, budget=budget, preserve=0.4))
    GlobalRankingAgent(seed=0).search(env, 7)
    (record,) = env.records
    expected = ranked(env.unwrapped.budget, env.reset()[1]["layers"]["importance"])  # type: ignore[attr-defined]
    assert record["channels"] == expected.tolist()
    assert {"deterministic", "may_stop_early"} <= GlobalRankingAgent.tags

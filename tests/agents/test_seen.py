"""Which policies a run has evaluated, what comes in their place, and that no agent evaluates one twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from searches import Recording

from prunebench.agents.base import run_episode
from prunebench.agents.bo import BOAgent
from prunebench.agents.clustered_bo import ClusteredBOAgent
from prunebench.agents.cma_es import CMAESAgent
from prunebench.agents.parts.seen import TRIES, VAIN, Seen
from prunebench.agents.tpe import TPEAgent
from prunebench.agents.turbo import TuRBOAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def started(layers: int, preserve: float = 0.4) -> tuple[Budget, Seen]:
    budget = Budget.from_info(toy_env(layers, preserve=preserve).reset()[1])
    return budget, Seen(budget, np.random.default_rng(0))


def test_a_known_policy_is_replaced_by_one_on_budget_near_it() -> None:
    budget, seen = started(6)
    counts = budget.project(np.full(6, 0.5))
    assert seen.unseen(counts) is counts
    seen.add(counts.tolist())
    assert counts in seen
    other = seen.unseen(counts)
    assert other not in seen
    assert budget.project(budget.ratios(other)).tolist() == other.tolist()
    assert 1 <= np.abs(other - counts).max() <= 16


def test_every_draw_is_looked_at_then_policies_near_the_first_then_random_ones() -> None:
    budget, seen = started(3)
    known, new = budget.project(np.array([0.5, 0.5, 0.5])), budget.project(np.array([0.9, 0.2, 0.2]))
    seen.add(known.tolist())
    draws = [known] * (TRIES - 1) + [new]
    assert seen.first(lambda number: draws[number]) is new
    other = seen.first(lambda _: known)
    assert other not in seen
    assert np.abs(other - known).max() <= 8


def test_after_a_few_vain_searches_nobody_looks_any_more() -> None:
    budget, seen = started(1)
    only, asked = budget.project(np.full(1, 0.5)), []
    seen.add(only.tolist())
    for _ in range(50):
        seen.first(lambda number: asked.append(number) or only)  # type: ignore[func-returns-value]
    assert len(asked) == VAIN * TRIES + 50 - VAIN


def test_where_there_is_no_other_the_policy_itself() -> None:
    budget, seen = started(1)
    counts = budget.project(np.full(1, 0.5))
    seen.add(counts.tolist())
    assert seen.unseen(counts).tolist() == counts.tolist()


@pytest.mark.parametrize("mode", ["wall", "project"])
def test_a_request_repeats_what_the_environment_makes_of_it(mode: str) -> None:
    env, rng = toy_env(6, preserve=0.4, budget=mode), np.random.default_rng(0)
    seen = Seen(Budget.from_info(env.reset()[1]), rng)
    outcomes = []
    for request in rng.uniform(0.1, 1, (30, 6)):
        env.reset()
        foreseen, channels = seen.repeats(request), run_episode(env, request)["channels"]
        assert foreseen == (channels in seen)
        outcomes.append(foreseen)
        seen.add(channels)
        assert seen.repeats(request)
    assert not all(outcomes)
    assert any(outcomes) == (mode == "wall")  # which takes all from the last layers


@pytest.mark.parametrize("agent", [BOAgent, ClusteredBOAgent, TuRBOAgent, CMAESAgent, TPEAgent])
def test_no_agent_repeats_a_policy_where_there_are_others(agent: Any) -> None:
    """Two layers of 64 channels: a few dozen policies, near whose best everybody crowds."""
    env = Recording(ChannelPruningEnv(ToyEvaluator(2, 64, seed=100), preserve=0.4))
    agent(seed=0).search(env, 20)
    assert len({tuple(record["channels"]) for record in env.records}) == 20

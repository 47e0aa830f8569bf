"""Generations, restarts, and what the strategy is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from searches import evaluation

from prunebench.agents.cma_es import CMAESAgent
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def started(layers: int = 12, seed: int = 0) -> tuple[CMAESAgent, dict[str, Any]]:
    agent = CMAESAgent(seed=seed, signal="reward")
    info = toy_env(layers, preserve=0.4).reset()[1]
    agent.setup(info, 100)
    return agent, info


def rewards(agent: Any, evaluations: int, layers: int = 12, task: int = 100) -> list[float]:
    env = ChannelPruningEnv(ToyEvaluator(layers, seed=task), preserve=0.4)
    agent.search(env, evaluations)
    return [score.accuracy for score in env.memory.values()]


def test_it_starts_at_the_uniform_policy_on_budget() -> None:
    agent, info = started()
    budget = Budget.from_info(info)
    mean = agent._strategy.mean
    assert np.ptp(mean) == pytest.approx(0)
    np.testing.assert_allclose(budget.cost(mean * budget.channels), budget.limit, rtol=1e-6)


def test_proposals_are_on_budget() -> None:
    agent, info = started()
    budget = Budget.from_info(info)
    for _ in range(20):
        counts = budget.counts(agent.ask())
        assert budget.project(budget.ratios(counts)).tolist() == counts.tolist()


def test_a_generation_is_told_when_it_is_whole_and_as_it_was_asked_for() -> None:
    agent, _ = started()
    told: list[list[tuple[Any, float]]] = []
    tell = agent._strategy.tell
    agent._strategy.tell = lambda members: (told.append(list(members)), tell(members))  # type: ignore[method-assign]
    asked = []
    for number in range(2 * 11):  # 4 + 3 ln 12, rounded down
        agent.ask()
        asked.append(agent._asked)
        agent.tell(evaluation(float(number), channels=[number]))
        assert len(told) == (number + 1) // 11
    for generation, members in enumerate(told):
        expected = asked[11 * generation : 11 * (generation + 1)]
        assert [point.tolist() for point, _ in members] == [point.tolist() for point in expected]
        assert [value for _, value in members] == [-11.0 * generation - i for i in range(11)]
    assert agent._strategy.generation == 2


def test_constant_rewards_restart_it_elsewhere_with_twice_the_population() -> None:
    agent = CMAESAgent(seed=0)
    env = ChannelPruningEnv(ToyEvaluator(2, constant=True), preserve=0.4)
    agent.setup(env.reset()[1], 100)
    first = agent._strategy
    for _ in range(50 * first.population_size):
        channels = agent._budget.counts(agent.ask()).tolist()
        agent.tell(evaluation(0.5, channels=channels))
        if agent._strategy is not first:
            break
    assert agent._strategy.population_size == 2 * first.population_size
    assert agent._strategy.generation == 0
    assert np.ptp(agent._strategy.mean) > 0.01


@pytest.mark.parametrize("lower_bound", [0.1, 0.35, 1.0])
def test_every_lower_bound(lower_bound: float) -> None:
    """Of 32 channels 0.35 rounds down to 11, below the bound; 1.0 leaves a box without an inside."""
    preserve = 0.11 if lower_bound == 0.1 else lower_bound
    env = ChannelPruningEnv(ToyEvaluator(3), preserve=preserve, lower_bound=lower_bound)
    CMAESAgent(seed=0).search(env, 20)
    assert env.memory


def test_beats_random_search() -> None:
    """12 layers, 60 evaluations, two seeds: the worse run is better than the best of five random ones."""
    best = [max(rewards(CMAESAgent(seed=seed), 60)) for seed in range(2)]
    assert min(best) > max(max(rewards(RandomSearchAgent(seed=seed), 60)) for seed in range(5))

"""Roll-backs: when, where the bounds come from, and what the model sees."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from toy import toy_env

from agents.base import run_episode
from agents.clustered_bo import SCHEDULE, ClusteredBOAgent, default_clusters, elite_bounds
from envs.budget import Budget


def improving(n: int) -> list[float]:
    return [float(i) for i in range(n)]


def stalled(n: int, best: int) -> list[float]:
    """``n`` rewards of which number ``best`` (from 1) was the last improvement."""
    return [float(min(i, best)) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("stage", "rewards", "due"),
    [
        (0, improving(99), False),
        (0, improving(100), True),
        (0, stalled(79, 1), False),
        (0, stalled(80, 60), True),
        (0, stalled(80, 61), False),
        (0, stalled(90, 70), True),
        (1, improving(149), False),
        (1, improving(150), True),
        (1, stalled(129, 1), False),
        (1, stalled(130, 110), True),
        (1, stalled(130, 111), False),
    ],
)
def test_the_papers_schedule_at_200_evaluations(stage: int, rewards: list[float], due: bool) -> None:
    assert SCHEDULE[stage].due(rewards, 200) is due


def test_the_schedule_scales() -> None:
    assert not SCHEDULE[0].due(stalled(39, 1), 100)
    assert SCHEDULE[0].due(stalled(40, 30), 100)
    assert not SCHEDULE[0].due(stalled(40, 31), 100)
    assert SCHEDULE[1].due(improving(75), 100)


def test_elite_bounds_on_a_made_up_history() -> None:
    realised = np.full((14, 3), 0.5)
    rewards = np.arange(14.0)  # the last is the best
    off_budget = np.zeros(14)
    realised[13] = [0.05, 0.5, 0.99]
    off_budget[13] = 0.02  # the best policy, but off budget
    realised[12, 1] = 0.3
    realised[3, 2] = 0.9  # the tenth of those on budget
    off_budget[3] = 0.01
    realised[2, 0] = 0.2  # the eleventh
    assert elite_bounds(realised, rewards, off_budget) == (0.3, 0.9)


def test_elite_bounds_of_few_or_no_policies() -> None:
    assert elite_bounds([[0.2, 0.4], [0.1, 0.9]], [1.0, 2.0], [0.0, 0.5]) == (0.2, 0.4)
    assert elite_bounds([[0.2, 0.4]], [1.0], [0.5]) is None
    assert elite_bounds([[0.4, 0.4]], [1.0], [0.0]) is None


@pytest.mark.parametrize(("layers", "expected"), [(27, (3, 9)), (13, (6, 9)), (18, (6, 15))])
def test_default_clusters_are_the_papers(layers: int, expected: tuple[int, int]) -> None:
    assert default_clusters(layers) == expected


@pytest.mark.parametrize("layers", range(1, 80))
def test_default_clusters_grow_to_the_layers(layers: int) -> None:
    first, second = default_clusters(layers)
    assert 1 <= first <= second <= layers


@functools.cache
def searched(budget: str = "wall", evaluations: int = 24, layers: int = 9, **options: Any) -> ClusteredBOAgent:
    agent = ClusteredBOAgent(seed=1, **options)
    agent.search(toy_env(layers, preserve=0.4, budget=budget), evaluations)
    return agent


def test_clustered_requests_are_on_budget_up_to_rounding() -> None:
    agent = searched()
    assert max(agent._off_budget[: int(agent.events[1]["evaluation"])]) < 0.02


@pytest.mark.parametrize("budget", ["wall", "project"])
def test_a_run_goes_through_three_stages(budget: str) -> None:
    agent = searched(budget)
    assert [event["stage"] for event in agent.events] == [1, 2]
    assert 10 <= agent.events[0]["evaluation"] <= 12
    assert 16 <= agent.events[1]["evaluation"] <= 18
    assert [len(set(stage)) for stage in agent.stages] == [5, 7, 9]
    assert len(agent.tree) == 8
    json.dumps([agent.events, agent.stages, agent.tree])


def test_roll_back_bounds_are_those_of_the_elite_so_far() -> None:
    agent = searched()
    for event in agent.events:
        n = int(event["evaluation"])
        assert (event["low"], event["high"]) == elite_bounds(
            agent._realised[:n], agent._rewards[:n], agent._off_budget[:n]
        )
    point = agent._best_candidate()
    assert point.shape == (9,)
    assert agent.events[1]["low"] <= point.min()
    assert point.max() <= agent.events[1]["high"]


def test_layers_of_a_cluster_request_one_ratio_until_the_last_stage() -> None:
    agent = searched()
    start, bridge, end = 0, int(agent.events[0]["evaluation"]), int(agent.events[1]["evaluation"])
    for stage, rows in zip(agent.stages, (slice(start, bridge), slice(bridge, end)), strict=False):
        for label in set(stage):
            members = [i for i, own in enumerate(stage) if own == label]
            assert np.ptp(np.array(agent._requested[rows])[:, members], axis=1).max() == 0
    free = np.array(agent._requested[end:])[:, [i for i, own in enumerate(agent.stages[0]) if own == 0]]
    assert np.ptp(free, axis=1).max() > 2 / 32


def test_the_model_sees_requests_first_and_realised_means_after_a_roll_back() -> None:
    agent = ClusteredBOAgent(seed=0, clusters=2, bridge=3)
    env = toy_env(4, preserve=0.4)
    _, info = env.reset()
    agent.setup(info, 200)
    labels = np.array(agent.stages[0])
    for wanted in (0.95, 0.9):  # far over the budget: the wall cuts the later layers
        env.reset()
        agent.tell(run_episode(env, np.full(4, wanted)))
    assert not np.allclose(agent._requested, agent._realised, atol=0.05)
    np.testing.assert_allclose(agent._inputs(), [[0.95, 0.95], [0.9, 0.9]], rtol=1e-6)
    agent._roll_back(1)
    labels = np.array(agent.stages[1])
    realised = np.array(agent._realised)
    means = np.stack([realised[:, labels == label].mean(axis=1) for label in range(3)], axis=1)
    np.testing.assert_allclose(agent._inputs(), means)
    agent._roll_back(2)
    np.testing.assert_allclose(agent._inputs(), realised)


def test_options_set_the_stages_and_are_clipped_to_the_layers() -> None:
    assert [len(set(s)) for s in searched(evaluations=1, clusters=2, bridge=4).stages] == [2, 4, 9]
    assert [len(set(s)) for s in searched(evaluations=1, clusters=50).stages] == [9, 9, 9]
    assert [len(set(s)) for s in searched(evaluations=1, bridge=3).stages] == [3, 3, 9]


def test_the_distance_from_the_budget_is_a_fraction_of_the_dense_cost() -> None:
    agent = searched(evaluations=3)
    budget = Budget.from_info(toy_env(9, preserve=0.4).reset()[1])
    dense = float(budget.cost(budget.channels))
    costs = [float(budget.cost(budget.counts(row))) for row in agent._realised]
    assert agent._off_budget == pytest.approx([abs(cost - budget.limit) / dense for cost in costs])

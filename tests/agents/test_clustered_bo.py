"""Roll-backs: when, where the bounds come from, and what the model sees."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

from prunebench.agents.base import run_episode
from prunebench.agents.clustered_bo import FIRST, SECOND, ClusteredBOAgent, RollBack, default_clusters, elite_bounds
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.toy import toy_env


def improving(n: int) -> list[float]:
    return [float(i) for i in range(n)]


def stalled(n: int, best: int) -> list[float]:
    """``n`` rewards of which number ``best`` (from 1) was the last improvement."""
    return [float(min(i, best)) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("stage", "rewards", "due"),
    [
        (FIRST, improving(99), False),
        (FIRST, improving(100), True),
        (FIRST, stalled(79, 1), False),
        (FIRST, stalled(80, 59), True),
        (FIRST, stalled(80, 60), False),
        (FIRST, stalled(90, 69), True),
        (SECOND, improving(149), False),
        (SECOND, improving(150), True),
        (SECOND, stalled(129, 1), False),
        (SECOND, stalled(130, 109), True),
        (SECOND, stalled(130, 110), False),
    ],
)
def test_the_papers_schedule_at_200_evaluations(stage: RollBack, rewards: list[float], due: bool) -> None:
    assert stage.scaled(200) == stage
    assert stage.due(rewards) is due


def test_the_schedule_scales() -> None:
    assert (FIRST.scaled(100), SECOND.scaled(100)) == ((40, 50, 10), (65, 75, 10))
    assert FIRST.scaled(101) == (41, 51, 11)  # rounded up


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
    assert max(agent._off_budget[: int(agent.notes["events"][1]["evaluation"])]) < 0.02


@pytest.mark.parametrize("budget", ["wall", "project"])
def test_a_run_goes_through_three_stages(budget: str) -> None:
    agent = searched(budget)
    assert [event["stage"] for event in agent.notes["events"]] == [1, 2]
    assert 10 <= agent.notes["events"][0]["evaluation"] <= 12
    assert 16 <= agent.notes["events"][1]["evaluation"] <= 18
    assert [len(set(stage)) for stage in agent.notes["stages"]] == [5, 7, 9]
    assert len(agent.notes["tree"]) == 8
    assert agent.notes["similarity"] == "EU"
    json.dumps(agent.notes)


def test_roll_back_bounds_are_those_of_the_elite_so_far() -> None:
    agent = searched()
    for event in agent.notes["events"]:
        n = int(event["evaluation"])
        assert (event["low"], event["high"]) == elite_bounds(
            agent._realised[:n], agent._outcomes[:n], agent._off_budget[:n]
        )
    point = agent._candidates(agent._fit())[0]
    assert point.shape == (9,)
    assert agent.notes["events"][1]["low"] <= point.min()
    assert point.max() <= agent.notes["events"][1]["high"]


def test_layers_of_a_cluster_request_one_ratio_until_the_last_stage() -> None:
    agent = searched()
    start, bridge, end = 0, int(agent.notes["events"][0]["evaluation"]), int(agent.notes["events"][1]["evaluation"])
    for stage, rows in zip(agent.notes["stages"], (slice(start, bridge), slice(bridge, end)), strict=False):
        for label in set(stage):
            members = [i for i, own in enumerate(stage) if own == label]
            assert np.ptp(np.array(agent._requested[rows])[:, members], axis=1).max() == 0
    free = np.array(agent._requested[end:])[:, [i for i, own in enumerate(agent.notes["stages"][0]) if own == 0]]
    assert np.ptp(free, axis=1).max() > 2 / 32


def test_the_model_sees_requests_first_and_realised_means_after_a_roll_back() -> None:
    agent = ClusteredBOAgent(seed=0, clusters=2, bridge=3)
    env = toy_env(4, preserve=0.4)
    _, info = env.reset()
    agent.setup(info, 200)
    labels = np.array(agent.notes["stages"][0])
    for wanted in (0.95, 0.9):  # far over the budget: the wall cuts the later layers
        env.reset()
        agent.tell(run_episode(env, np.full(4, wanted)))
    assert not np.allclose(agent._requested, agent._realised, atol=0.05)
    np.testing.assert_allclose(agent._inputs(), [[0.95, 0.95], [0.9, 0.9]], rtol=1e-6)
    agent._roll_back(1)
    labels = np.array(agent.notes["stages"][1])
    realised = np.array(agent._realised)
    means = np.stack([realised[:, labels == label].mean(axis=1) for label in range(3)], axis=1)
    np.testing.assert_allclose(agent._inputs(), means)
    agent._roll_back(2)
    np.testing.assert_allclose(agent._inputs(), realised)


def test_options_set_the_stages_and_are_clipped_to_the_layers() -> None:
    assert [len(set(s)) for s in searched(evaluations=1, clusters=2, bridge=4).notes["stages"]] == [2, 4, 9]
    assert [len(set(s)) for s in searched(evaluations=1, clusters=50).notes["stages"]] == [9, 9, 9]
    assert [len(set(s)) for s in searched(evaluations=1, bridge=3).notes["stages"]] == [3, 3, 9]


def test_the_distance_from_the_budget_is_a_fraction_of_the_dense_cost() -> None:
    agent = searched(evaluations=3)
    budget = Budget.from_info(toy_env(9, preserve=0.4).reset()[1])
    dense = float(budget.cost(budget.channels))
    costs = [float(budget.cost(budget.counts(row))) for row in agent._realised]
    assert agent._off_budget == pytest.approx([abs(cost - budget.limit) / dense for cost in costs])


@pytest.mark.parametrize(
    ("preset", "evaluations", "remarks"), [("paper", 100, 1), ("paper", 101, 0), ("modern", 20, 0)]
)
def test_a_run_too_short_for_the_papers_roll_backs_says_so(preset: Any, evaluations: int, remarks: int) -> None:
    agent = ClusteredBOAgent(seed=0, preset=preset)
    agent.setup(toy_env(9).reset()[1], evaluations)
    assert agent.notes is not None
    assert len(agent.notes["remarks"]) == remarks


def test_other_kinds_of_roll_back() -> None:
    none, direct = searched(rollback="none"), searched(rollback="direct")
    assert none.notes is not None
    assert direct.notes is not None
    assert [len(set(stage)) for stage in none.notes["stages"]] == [5]
    assert none.notes["events"] == []
    assert [len(set(stage)) for stage in direct.notes["stages"]] == [5, 9]
    assert [event["stage"] for event in direct.notes["events"]] == [1]


def test_the_similarity_decides_the_clusters() -> None:
    found = {similarity: searched(evaluations=1, similarity=similarity).notes for similarity in ("EU", "JS", "ST")}
    stages = {name: json.dumps(notes["stages"]) for name, notes in found.items() if notes is not None}
    assert len(set(stages.values())) >= 2
    with pytest.raises(ValueError, match="similarity 'L1': expected one of EU, JS, ST"):
        ClusteredBOAgent(seed=0, similarity="L1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rollback 'twice': expected one of none, direct, gradual"):
        ClusteredBOAgent(seed=0, rollback="twice")  # type: ignore[arg-type]

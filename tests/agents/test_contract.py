"""What every agent owes the harness, on the toy task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from toy import ToyEvaluator

from agents.bo import BOAgent
from agents.clustered_bo import ClusteredBOAgent
from agents.ddpg import DDPGAgent
from agents.random_search import RandomSearchAgent
from agents.uniform import UniformAgent
from envs.budget import Budget
from envs.pruning_env import ChannelPruningEnv, Score

AGENTS = [UniformAgent, RandomSearchAgent, DDPGAgent, BOAgent, ClusteredBOAgent]
SEARCHING = AGENTS[1:]
BUDGETS = ["wall", "project"]


class Counting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records actions and evaluations; refuses the first step after the last paid episode."""

    def __init__(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        super().__init__(env)
        self.left = evaluations
        self.actions: list[Any] = []
        self.records: list[dict[str, Any]] = []

    def step(self, action: Any) -> Any:
        assert self.left > 0, "the budget is spent"
        assert self.action_space.contains(action), action
        self.actions.append(np.array(action))
        result = self.env.step(action)
        if result[2]:
            self.left -= 1
            self.records.append(result[4]["evaluation"])
        return result


class Constant(ToyEvaluator):  # type: ignore[misc]
    def score(self, counts: tuple[int, ...]) -> Score:
        return Score(0.5, 1.0)


def run(
    agent: Callable[..., Any],
    evaluations: int,
    *,
    layers: int = 5,
    seed: int = 0,
    budget: str = "wall",
    preserve: float = 0.4,
    evaluator: type[ToyEvaluator] = ToyEvaluator,
) -> Counting:
    # The toy's target comes from its own seed: with an agent's seed a random policy could equal it.
    env = Counting(ChannelPruningEnv(evaluator(layers, seed=100), budget=budget, preserve=preserve), evaluations)
    agent(seed=seed).search(env, evaluations)
    return env


def requested(env: Counting) -> list[list[float]]:
    return [record["requested"] for record in env.records]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("evaluations", [1, 4, 24])
@pytest.mark.parametrize("agent", SEARCHING)
def test_uses_exactly_the_budget_in_whole_episodes(agent: Any, evaluations: int, budget: str) -> None:
    env = run(agent, evaluations, budget=budget)
    assert len(env.records) == evaluations
    assert len(env.actions) == 5 * evaluations


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("agent", SEARCHING)
def test_the_seed_decides_the_policies(agent: Any, budget: str) -> None:
    first, again, other = (run(agent, 14, seed=seed, budget=budget) for seed in (3, 3, 4))
    assert requested(first) == requested(again)
    assert requested(first)[0] != requested(other)[0]
    assert requested(first)[-1] != requested(other)[-1]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("layers", "evaluations"), [(1, 13), (2, 13), (60, 4)])
@pytest.mark.parametrize("agent", SEARCHING)
def test_depths(agent: Any, layers: int, evaluations: int, budget: str) -> None:
    assert len(run(agent, evaluations, layers=layers, budget=budget).records) == evaluations


@pytest.mark.parametrize("agent", [BOAgent, ClusteredBOAgent])
def test_a_model_of_sixty_layers(agent: Any) -> None:
    assert len(run(agent, 12, layers=60).records) == 12


@pytest.mark.parametrize("agent", SEARCHING)
def test_survives_constant_rewards(agent: Any) -> None:
    assert len(run(agent, 16, evaluator=Constant).records) == 16


@pytest.mark.parametrize("agent", SEARCHING)
def test_survives_a_budget_that_leaves_no_choice(agent: Any) -> None:
    """Everything dense: all policies realise as the same point, all rewards are equal."""
    env = run(agent, 14, preserve=1.0, budget="project")
    assert {tuple(record["channels"]) for record in env.records} == {(32,) * 5}


@pytest.mark.parametrize("agent", [UniformAgent, RandomSearchAgent, BOAgent])
def test_policies_fill_the_budget_and_pass_the_wall_untouched(agent: Any) -> None:
    env = run(agent, 14)
    budget = Budget.from_info(env.reset()[1])
    for record in env.records:
        assert record["channels"] == budget.counts(record["requested"]).tolist()
        assert budget.project(record["realised"]).tolist() == record["channels"]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("layers", [1, 5, 60])
def test_uniform_is_one_evaluation_of_one_ratio(layers: int, budget: str) -> None:
    env = run(UniformAgent, 7, layers=layers, budget=budget)
    (record,) = env.records
    assert np.ptp(record["channels"]) <= 1  # equal widths: the same ratio up to one filled channel
    assert record["feasible"]
    assert {"deterministic", "may_stop_early"} <= UniformAgent.tags
    assert requested(run(UniformAgent, 7, seed=5, layers=layers, budget=budget)) == requested(env)


@pytest.mark.parametrize("agent", [BOAgent, ClusteredBOAgent])
def test_beats_random_search(agent: Any) -> None:
    """12 layers, 30 evaluations, two seeds: the worse run is better than the best of five random ones."""
    best = [max(r["reward"] for r in run(agent, 30, layers=12, seed=seed).records) for seed in range(2)]
    random = [max(r["reward"] for r in run(RandomSearchAgent, 30, layers=12, seed=seed).records) for seed in range(5)]
    assert min(best) > max(random)


@pytest.mark.parametrize(
    ("agent", "options", "message"),
    [
        (DDPGAgent, {"warmup": 0}, "warmup 0"),
        (BOAgent, {"initial": 0}, "initial 0"),
        (ClusteredBOAgent, {"clusters": 0}, "clusters 0"),
        (ClusteredBOAgent, {"bridge": -1}, "bridge -1"),
        (ClusteredBOAgent, {"clusters": 5, "bridge": 4}, "bridge 4"),
    ],
)
def test_bad_options_are_named(agent: Any, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agent(seed=0, **options)

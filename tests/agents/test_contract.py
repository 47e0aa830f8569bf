"""What every agent owes the harness, and what the agents that come with it owe beyond that, on the toy task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from searches import Recording

from prunebench.agents.bo import BOAgent
from prunebench.agents.clustered_bo import ClusteredBOAgent
from prunebench.agents.ddpg import DDPGAgent
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.agents.uniform import UniformAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import BUDGET_MODES
from prunebench.envs.environment.toy import toy_env
from prunebench.harness.checks.contract import parametrize_with_checks
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import parse


def built_in(name: str, **options: Any) -> Any:
    return registry.load(name)(**options)


OURS = [name for name, entry in registry.registered().items() if entry.dist and entry.dist.name == "prunebench"]


@parametrize_with_checks({name: partial(built_in, name) for name in OURS})
def test_contract(check: Any, factory: Any) -> None:
    check(factory)


def test_the_agents_that_come_with_it_are_under_the_contract() -> None:
    papers = {"ddpg", "bo", "clustered_bo", "spdy", "abc"}
    others = {"adaptive_clustered_bo", "sac", "cmaes", "tpe", "turbo", "evolution"}
    assert set(OURS) == {"uniform", "global", "random", "greedy", *papers, *others}  # else: install the package again


VARIANTS = (
    *("bo:preset=botorch2021", "bo:preset=gpyopt2021", "clustered_bo:preset=paper", "ddpg:preset=paper"),
    "evolution:variant=population",
    *("clustered_bo:similarity=JS,rollback=direct", "clustered_bo:similarity=ST,rollback=none"),
)


@pytest.mark.slow
@parametrize_with_checks({text: registry.factory(parse(text)[0]) for text in VARIANTS})
def test_contract_of_variants(check: Any, factory: Any) -> None:
    check(factory)


def run(
    agent: Callable[..., Any],
    evaluations: int,
    *,
    layers: int = 5,
    seed: int = 0,
    budget: str = "wall",
) -> Recording:
    # The toy's target comes from its own seed: with an agent's seed a random policy could equal it.
    env = Recording(toy_env(layers, seed=100, budget=budget, preserve=0.4))
    agent(seed=seed).search(env, evaluations)
    return env


@pytest.mark.parametrize("agent", [BOAgent, ClusteredBOAgent])
def test_a_model_of_sixty_layers(agent: Any) -> None:
    assert len(run(agent, 12, layers=60).records) == 12


@pytest.mark.parametrize("agent", [UniformAgent, RandomSearchAgent, BOAgent])
def test_policies_fill_the_budget_and_pass_the_wall_untouched(agent: Any) -> None:
    env = run(agent, 14)
    budget = Budget.from_info(env.reset()[1])
    for record in env.records:
        assert record["channels"] == budget.counts(record["requested"]).tolist()
        assert budget.project(record["realised"]).tolist() == record["channels"]


@pytest.mark.parametrize("budget", BUDGET_MODES)
@pytest.mark.parametrize("layers", [1, 5, 60])
def test_uniform_is_one_evaluation_of_one_ratio(layers: int, budget: str) -> None:
    env = run(UniformAgent, 7, layers=layers, budget=budget)
    (record,) = env.records
    assert np.ptp(record["channels"]) <= 1  # equal widths: the same ratio up to one filled channel
    assert record["feasible"]
    assert {"deterministic", "may_stop_early"} <= UniformAgent.tags


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

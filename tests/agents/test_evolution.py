"""Switches of levels, populations, and who is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from searches import Recording

from prunebench.agents.evolution import LEVELS, EvolutionAgent, Population, switched
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def equal_costs(layers: int, channels: int = 64) -> Budget:
    """Every channel costs the same, half of them may stay: a level down pays for a level up."""
    chosen = np.hstack([np.zeros((layers, 1)), np.eye(layers)])
    cost = CostModel(np.ones(layers), chosen, np.eye(1, layers + 1).repeat(layers, axis=0))
    return Budget(cost, np.full(layers, channels), 0.125, layers * channels / 2)


def records(agent: Any, evaluations: int = 60, layers: int = 12) -> list[dict[str, Any]]:
    env = Recording(ChannelPruningEnv(ToyEvaluator(layers, seed=100), preserve=0.4))
    agent.search(env, evaluations)
    return env.records


def test_a_switch_moves_as_many_layers_up_as_down_by_a_level_each_and_nothing_else() -> None:
    budget, rng = equal_costs(12), np.random.default_rng(0)
    parent, step = budget.uniform(), 64 // LEVELS
    sizes = np.zeros(4, dtype=int)
    for _ in range(900):
        change = switched(budget, parent, rng) - parent
        assert change.sum() == 0
        assert set(np.abs(change) % step) == {0}
        assert not (change > 0).all()
        sizes[change[change > 0].sum() // step] += 1
    assert sizes[0] == 0
    # the smaller of two uniform draws from 1 to 3: 5, 3 and 1 in 9
    np.testing.assert_allclose(sizes[1:] / 900, [5 / 9, 3 / 9, 1 / 9], atol=0.06)


def test_a_level_is_whole_blocks() -> None:
    """An eighth of 96 channels are 12: a block and a half of eight, which the projection would make one or two of."""
    budget, rng = replace(equal_costs(12, 96), fill=False, limit=12 * 96, round_to=8), np.random.default_rng(0)
    changes = np.concatenate([switched(budget, np.full(12, 48), rng) - 48 for _ in range(1000)])
    assert 0.8 < (changes == 8).sum() / (changes == -8).sum() < 1.25


def test_switches_lead_to_any_cost_where_the_reward_weighs_it() -> None:
    budget, rng = replace(equal_costs(12), fill=False, limit=12 * 64), np.random.default_rng(0)
    parent = budget.channels // 2
    changes = [np.sign(switched(budget, parent, rng) - parent).sum() for _ in range(300)]
    assert {-3, 3} <= set(changes)
    assert abs(np.mean(changes)) < 0.3


@pytest.mark.parametrize("preserve", [0.11, 0.4, 0.95, 1.0])
@pytest.mark.parametrize("layers", [1, 2, 12])
def test_switches_fill_the_budget_whatever_layers_cost(layers: int, preserve: float) -> None:
    budget, rng = toy_env(layers, preserve=preserve).budget, np.random.default_rng(0)
    counts = budget.uniform()
    for _ in range(40):
        counts = switched(budget, counts, rng)
        assert budget.feasible(counts)
        assert (counts >= budget.lower_counts).all()
        assert budget.project(budget.ratios(counts)).tolist() == counts.tolist()


def test_the_parent_is_the_best_of_the_generations_before() -> None:
    """Told by its children: each is nearer to the best policy so far than a level in a few layers allows."""
    found = records(EvolutionAgent(seed=0))
    assert np.ptp(found[0]["realised"]) <= 0.2  # the uniform policy, and its rest of the budget
    agent = EvolutionAgent(seed=0)
    agent.setup(toy_env(6, preserve=0.4).reset()[1], 100)
    parents: list[Any] = []
    agent.variant = lambda *_: Spied(parents)  # type: ignore[assignment,method-assign]
    agent._search = agent.policies({}, 100)
    for reward in (0.5, 0.1, 0.9, 0.3, 0.9, 0.2):
        agent.ask()
        agent.tell({"channels": [0], "reward": reward, "accuracy": reward, "loss": -np.log(reward)})
    assert [kept.tolist() for kept in parents] == [[], [[0] * 6], [[0] * 6], [[2] * 6], [[2] * 6], [[2] * 6]]


class Spied:
    """Three generations of one, two and two: each policy is its number in all layers."""

    first, size, kept = 1, 2, 1

    def __init__(self, parents: list[Any]) -> None:
        self.parents = parents

    def child(self, parents: list[Any], place: int, number: int) -> Any:
        if not number:
            self.parents.append(np.array(parents))
        return np.full(6, len(self.parents) - 1)


def test_a_population_has_mutants_of_the_kept_and_children_of_two() -> None:
    budget, rng = equal_costs(40), np.random.default_rng(0)
    population = Population(budget, rng, 200)
    assert (population.first, population.size, population.kept) == (20, 20, 4)
    low, high = np.tile([16, 48], 20), np.tile([48, 16], 20)
    mutants = np.array([population.child([low], 0, 0) for _ in range(30)])
    moved = (np.abs(mutants - low) > 3).mean()  # the projection moves all the others a little
    assert 0.05 < moved < 0.2
    children = np.array([population.child([low, high], 19, 0) for _ in range(30)])
    assert budget.cost(children).max() <= budget.limit
    from_low = (children[:, ::2] < 32).mean()
    assert 0.2 < from_low < 0.8


@pytest.mark.parametrize("variant", ["levels", "population"])
def test_no_policy_is_evaluated_twice_and_all_fill_the_budget(variant: Any) -> None:
    found = records(EvolutionAgent(seed=1, variant=variant), 80, layers=4)
    budget = toy_env(4, preserve=0.4).budget
    assert len({tuple(record["channels"]) for record in found}) == 80
    for record in found:
        assert record["channels"] == budget.counts(record["requested"]).tolist()
        assert budget.project(record["realised"]).tolist() == record["channels"]


@pytest.mark.parametrize("variant", ["levels", "population"])
def test_beats_random_search(variant: Any) -> None:
    """12 layers, 60 evaluations, two seeds: the worse run is better than the best of five random ones."""
    runs = [records(EvolutionAgent(seed=seed, variant=variant)) for seed in range(2)]
    random = [records(RandomSearchAgent(seed=seed)) for seed in range(5)]
    assert min(max(r["reward"] for r in run) for run in runs) > max(r["reward"] for run in random for r in run)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="variant 'islands': expected one of levels, population"):
        EvolutionAgent(seed=0, variant="islands")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="signal 'luck'"):
        EvolutionAgent(seed=0, signal="luck")  # type: ignore[arg-type]

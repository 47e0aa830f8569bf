"""Employed bees, onlookers and scouts, each by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from searches import Recording

from prunebench.agents.bee_colony import LIMIT, BeeColonyAgent, Source, neighbour, onlookers, sources_of
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def records(agent: Any, evaluations: int = 60, layers: int = 12) -> list[dict[str, Any]]:
    env = Recording(ChannelPruningEnv(ToyEvaluator(layers, seed=100), preserve=0.4))
    agent.search(env, evaluations)
    return env.records


def started(layers: int = 6) -> BeeColonyAgent:
    agent = BeeColonyAgent(seed=0)
    agent.setup(toy_env(layers, preserve=0.4).reset()[1], 100)
    return agent


@pytest.mark.parametrize(
    ("evaluations", "sources"), [(1, 2), (62, 2), (93, 3), (100, 3), (200, 6), (310, 10), (1000, 10)]
)
def test_sources_grow_with_the_evaluations(evaluations: int, sources: int) -> None:
    assert sources_of(evaluations) == sources


def test_a_neighbour_moves_two_layers_at_most_as_far_as_its_partner_is_away() -> None:
    rng = np.random.default_rng(0)
    ratios, partner = np.full(8, 0.5), np.linspace(0.1, 1.0, 8)
    moves = np.array([neighbour(ratios, partner, 0.1, rng) - ratios for _ in range(2000)])
    assert set((moves != 0).sum(axis=1)) == {1, 2}  # the same layer may be drawn twice
    assert (np.abs(moves) <= np.abs(ratios - partner) + 1e-12).all()
    assert (moves.min(axis=0)[[0, -1]] < -0.3).all()
    assert (moves.max(axis=0)[[0, -1]] > 0.3).all()
    assert neighbour(np.array([0.2]), np.array([1.0]), 0.15, rng).min() >= 0.15


class Scripted:
    """Draws what it was given."""

    def __init__(self, *draws: float) -> None:
        self.draws = iter(draws)

    def random(self) -> float:
        return next(self.draws)


def test_onlookers_visit_sources_by_their_fitness() -> None:
    """Chances of 0.55, 1, 0.325 and 0.1, in turn, until there are four visits."""
    draws = (0.56, 0.99, 0.32, 0.11, 0.54, 0.9)
    assert onlookers([0.4, 0.8, 0.2, 0.0], Scripted(*draws)) == [1, 2, 0, 1]  # type: ignore[arg-type]


def test_onlookers_of_negative_and_of_equal_fitness() -> None:
    """With a reward that weighs the cost all are negative: the worst one counts as 0."""
    rng = np.random.default_rng(0)
    chosen = [number for _ in range(500) for number in onlookers([-3.0, -1.0, -2.0], rng)]
    counts = np.bincount(chosen)
    assert counts[1] > counts[2] > counts[0] > 0
    assert onlookers([0.0, 0.0], rng) in ([0, 1], [1, 0], [0, 0], [1, 1])


def test_a_better_neighbour_takes_the_sources_place_and_a_worse_one_counts_as_a_failure() -> None:
    agent = started()
    low, high = np.full(6, 0.3), np.full(6, 0.6)
    sources = [Source(low, 0.5, failures=3), Source(high, 0.4, failures=1)]
    worked = agent._work(sources, 0)
    tried = next(worked)
    with pytest.raises(StopIteration):
        worked.send(0.7)
    assert sources[0].fitness == 0.7
    assert sources[0].failures == 0
    np.testing.assert_allclose(sources[0].ratios, agent.budget.ratios(tried))
    worked = agent._work(sources, 1)
    next(worked)
    with pytest.raises(StopIteration):
        worked.send(0.4)  # as good is not better
    assert (sources[1].fitness, sources[1].failures) == (0.4, 2)
    assert sources[1].ratios is high


def test_a_cycle_is_all_employed_bees_then_as_many_onlookers_then_a_scout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is ever better: a source that failed 20 times in a row is given up, one a cycle."""
    agent, log = started(), []

    def work(sources: list[Source], number: int) -> Any:
        log.append(number)
        answer = yield np.zeros(6, dtype=int)
        assert answer <= sources[number].fitness
        sources[number].failures += 1

    def scout() -> Any:
        log.append(-1)
        return Source(np.zeros(6), (yield np.zeros(6, dtype=int)))

    monkeypatch.setattr(agent, "_work", work)
    monkeypatch.setattr(agent, "_scout", scout)
    policies, failures = agent.policies({}, 124), [0] * 4  # of four sources
    policies.send(None)
    for _ in range(399):
        policies.send(0.5)
    assert log[:3] == [-1] * 3  # beside the uniform policy
    place = 3
    while place + 9 <= len(log):
        assert log[place : place + 4] == [0, 1, 2, 3]
        for number in log[place : place + 8]:
            failures[number] += 1
        place += 8
        if max(failures) >= LIMIT:
            assert log[place] == -1
            failures[failures.index(max(failures))] = 0
            place += 1
    assert log.count(-1) > 6


def test_no_policy_is_evaluated_twice_and_all_fill_the_budget() -> None:
    found = records(BeeColonyAgent(seed=1), 80, layers=4)
    budget = toy_env(4, preserve=0.4).budget
    assert len({tuple(record["channels"]) for record in found}) == 80
    for record in found:
        assert budget.project(record["realised"]).tolist() == record["channels"]
        assert record["channels"] == budget.counts(record["requested"]).tolist()


def test_beats_random_search() -> None:
    """12 layers, 100 evaluations, two seeds: the worse run is better than the best of five random ones."""
    runs = [records(BeeColonyAgent(seed=seed), 100) for seed in range(2)]
    random = [records(RandomSearchAgent(seed=seed), 100) for seed in range(5)]
    assert min(max(r["reward"] for r in run) for run in runs) > max(r["reward"] for run in random for r in run)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="signal 'luck': expected one of reward, loss"):
        BeeColonyAgent(seed=0, signal="luck")  # type: ignore[arg-type]

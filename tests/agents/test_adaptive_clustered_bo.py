"""The agent with one model of all layers: its model, its steps, its splits, and whole searches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import is_valid_linkage
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from searches import Recording

from prunebench.agents.adaptive_clustered_bo import AdaptiveClusteredBOAgent, transformed, two_level
from prunebench.agents.parts import policy_model
from prunebench.agents.parts.clustering import cut
from prunebench.agents.parts.moves import climb, on_budget, realised, stepped
from prunebench.agents.parts.policy_model import PolicyModel
from prunebench.agents.parts.refinement import gains, refined
from prunebench.agents.parts.seen import Seen
from prunebench.agents.parts.sensitivity import balanced
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, Score
from prunebench.envs.environment.toy import ToyEvaluator, toy_env

TREE = np.array([[0, 1, 1, 2], [2, 3, 1, 2], [4, 5, 1, 2], [6, 7, 2, 4], [8, 9, 3, 6.0]])  # {0 1} {2 3} {4 5}


class Multiplying(ToyEvaluator):
    """Every layer multiplies the loss by a power of its ratio: what the model takes networks for."""

    powers = np.array([1.5, 0.1, 0.7, 0.05, 0.3, 1.0, 0.2, 0.1])

    def score(self, counts: tuple[int, ...]) -> Score:
        self.calls += 1
        loss = float(0.02 * np.prod((np.asarray(self.layers["channels"]) / np.asarray(counts)) ** self.powers))
        return Score(float(np.exp(-loss)), loss)


def searched(
    env: ChannelPruningEnv, evaluations: int, agent: Any = AdaptiveClusteredBOAgent, seed: int = 0, **options: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """The agent after its search, and its evaluations."""
    watched = Recording(env)
    made = agent(seed=seed, **options)
    made.search(watched, evaluations)
    return made, watched.records


# The model


def policies(count: int, layers: int = 6, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(0.1, 1, (count, layers))


def test_the_posterior_is_that_of_the_joint_normal_distribution() -> None:
    x, z = policies(7), policies(3, seed=1)
    outcomes = np.log(x).sum(axis=1)
    model = PolicyModel()
    model.fit(x, outcomes, 0)
    both = np.log(np.vstack([x, z]))
    whole, slopes = policy_model._covariance(model.hyper, policy_model._parts(both, both))
    prior = whole - slopes[3] - 1e-6 * np.eye(10)
    gain = prior[7:, :7] @ np.linalg.inv(whole[:7, :7])
    mean, variance = model.predict(z)
    np.testing.assert_allclose(mean, gain @ model.standardised(outcomes), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, np.diag(prior[7:, 7:] - gain @ prior[:7, 7:]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.mean(z), mean)


def test_the_likelihood_and_its_gradient() -> None:
    x = np.log(policies(9))
    parts = policy_model._parts(x, x)
    y, hyper = np.random.default_rng(0).normal(size=9), np.array([0.3, -0.5, 0.1, -1.0])

    def loss(h: Any) -> float:
        return policy_model._loss(h, y, parts)[0]

    covariance = policy_model._covariance(hyper, parts)[0]
    away = (hyper - policy_model.PRIOR_MEAN) / policy_model.PRIOR_DEVIATION
    exact = -multivariate_normal(np.zeros(9), covariance).logpdf(y) - 4.5 * np.log(2 * np.pi)
    assert loss(hyper) == pytest.approx(exact + (away**2).sum() / 2)
    slope = policy_model._loss(hyper, y, parts)[1]
    np.testing.assert_allclose(slope, approx_fprime(hyper, loss, 1e-6), rtol=1e-3, atol=1e-4)


def test_it_learns_products_of_powers_from_few_policies() -> None:
    x, z, powers = policies(25), policies(200, seed=1), np.array([1.5, 0.1, 0.7, 0.05, 0.3, 1.0])
    model = PolicyModel()
    model.fit(x, np.log(x) @ powers, 40)
    truth = model.standardised(np.log(z) @ powers)
    assert np.mean((model.mean(z) - truth) ** 2) < 0.02 * truth.var()


def test_a_model_that_is_told_more_is_the_model_of_all() -> None:
    x, z = policies(12), policies(3, seed=1)
    outcomes = np.log(x).sum(axis=1)
    grown, whole = PolicyModel(), PolicyModel()
    for count in (4, 5, 12):
        grown.fit(x[:count], outcomes[:count], 0)
    whole.fit(x, outcomes, 0)
    np.testing.assert_allclose(grown.predict(z), whole.predict(z), rtol=1e-5)
    grown.fit(x[::-1], outcomes[::-1], 0)  # others in the same places
    np.testing.assert_allclose(grown.predict(z), whole.predict(z), rtol=1e-4)


def test_equal_outcomes_and_a_single_one_tell_nothing() -> None:
    for count in (1, 8):
        model = PolicyModel()
        model.fit(policies(count), np.full(count, 0.3), 40)
        assert model.mean(policies(4, seed=1)).tolist() == [0] * 4


def test_outcomes_in_the_unit_interval_are_learned_as_logarithms_of_losses() -> None:
    losses = np.array([0.01, 0.5, 2.0])
    np.testing.assert_allclose(transformed(np.exp(-losses)), -np.log(losses))
    assert np.isfinite(transformed(np.array([0.0, 1.0]))).all()
    rewards = np.array([-3.0, -4.0, -5.0])
    assert transformed(rewards).tolist() == rewards.tolist()


# Where it looks


def test_steps_of_clusters_move_their_layers_alike() -> None:
    labels, centres = np.array([0, 0, 1, 1, 1, 2]), np.full((1, 6), 0.4)
    moved = np.log(stepped(centres, labels, 200, 0.3, False, np.random.default_rng(0)) / 0.4)
    np.testing.assert_allclose(moved, moved[:, [0, 0, 2, 2, 2, 5]])
    assert moved.std() == pytest.approx(0.3, rel=0.1)
    alone = np.log(stepped(centres, labels, 600, 0.3, True, np.random.default_rng(0)) / 0.4)
    assert (np.ptp(alone[:, :2], axis=1) > 1e-9).mean() > 0.4


def test_a_climb_ends_on_budget_near_the_best() -> None:
    _, info = toy_env(6, preserve=0.4).reset()
    budget, rng = Budget.from_info(info), np.random.default_rng(0)
    target = on_budget(budget, rng.uniform(0.2, 0.9, (1, 6)))[0]

    def score(ratios: Any) -> Any:
        return -((np.log(ratios) - np.log(target)) ** 2).sum(axis=1)

    def step(centres: Any, count: int, size: float) -> Any:
        return stepped(centres, np.arange(6), count, 0.5 * size, True, rng)

    found = climb(budget, score, step, budget.ratios(budget.project(np.full(6, 0.5)))[None])
    assert (budget.cost(found * budget.channels) <= budget.limit * (1 + 1e-9)).all()
    assert np.abs(found[0] - target).max() < 0.1
    seen = Seen(budget, rng)
    counts = realised(budget, score, found, seen)
    assert counts is not None
    assert budget.project(budget.ratios(counts)).tolist() == counts.tolist()
    for policy in found[:12]:
        seen.add(budget.project(policy).tolist())
    assert counts in seen
    assert realised(budget, score, found, seen) is None


# Splits


def test_the_cluster_whose_layers_disagree_most_is_split_at_its_node() -> None:
    labels = cut(TREE, 2)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert refined(labels, TREE, np.array([1.0, 1, 3, 3, 2, 2.5]), 0.5).tolist() == [0, 0, 2, 2, 1, 1]
    assert refined(labels, TREE, np.array([1.0, 1, 1, 1, 2, 2.5]), 0.5).tolist() == [0, 0, 0, 0, 1, 2]
    assert refined(labels, TREE, np.array([1.0, 1, 1, 1, 2, 2.5]), 1.0).tolist() == [0, 0, 3, 3, 1, 2]
    assert refined(np.arange(6), TREE, np.ones(6), 1.0).tolist() == list(range(6))


def test_gains_are_per_cost() -> None:
    env = ChannelPruningEnv(ToyEvaluator(6), preserve=0.4)
    budget = Budget.from_info(env.reset()[1])
    policy = np.full(6, 0.5)
    equal = gains(lambda ratios: budget.cost(ratios * budget.channels), budget, policy)
    np.testing.assert_allclose(equal, equal[0])
    gain = gains(lambda ratios: np.log(ratios) @ np.array([1.0, 0, 0, 0, 0, 2]), budget, policy)
    assert gain[1:5] == pytest.approx([0] * 4)
    assert gain[5] > 2 * gain[0] > 0  # the last layer's images are the smallest


def test_a_search_keeps_a_record_of_its_stages() -> None:
    agent, records = searched(ChannelPruningEnv(Multiplying(8), preserve=0.4), 30, clusters=2, initial=4, rollback=16)
    assert is_valid_linkage(np.array(agent.notes["tree"]))
    stages, events = agent.notes["stages"], agent.notes["events"]
    assert len(stages) == len(events) + 1
    sizes = [len(set(stage)) for stage in stages]
    assert sizes[0] == 2
    assert sizes[-1] == 8
    assert sizes == sorted(set(sizes))
    assert [event["stage"] for event in events] == list(range(1, len(stages)))
    for before, after in itertools.pairwise(stages):  # clusters are split, layers never change sides
        assert len(set(zip(before, after, strict=True))) == len(set(after))
    assert 6 <= events[0]["evaluation"] <= events[-1]["evaluation"] <= 16
    assert len({tuple(record["channels"]) for record in records}) == 30


# Whole searches


@pytest.mark.parametrize("budget", ["wall", "project"])
@pytest.mark.parametrize("evaluations", [1, 4, 14])
def test_policies_are_on_budget_and_the_balanced_one_comes_first(budget: str, evaluations: int) -> None:
    env = toy_env(7, budget=budget, preserve=0.4, seed=100)
    _, records = searched(env, evaluations)
    projected = Budget.from_info(env.reset()[1])
    assert len(records) == evaluations
    assert records[0]["channels"] == balanced(projected).tolist()
    for record in records:
        assert record["feasible"]
        assert record["channels"] == projected.counts(record["requested"]).tolist()
        assert projected.project(record["realised"]).tolist() == record["channels"]


def test_it_finds_the_optimum_where_its_assumption_holds() -> None:
    env = ChannelPruningEnv(Multiplying(8), preserve=0.4)
    budget = Budget.from_info(env.reset()[1])
    _, records = searched(env, 40)
    best = min(record["loss"] for record in records)
    rng = np.random.default_rng(0)
    others = [env.evaluator.score(tuple(budget.project(p))).loss for p in rng.uniform(0.1, 1, (2000, 8))]
    assert best < min(others)


def test_beats_random_search_where_it_does_not() -> None:
    """12 layers, 30 evaluations, two seeds: the worse run is better than the best of five random ones."""
    rewards = {
        agent: [
            max(r["reward"] for r in searched(toy_env(12, preserve=0.4, seed=100), 30, agent, seed)[1])
            for seed in range(seeds)
        ]
        for agent, seeds in ((AdaptiveClusteredBOAgent, 2), (RandomSearchAgent, 5))
    }
    assert min(rewards[AdaptiveClusteredBOAgent]) > max(rewards[RandomSearchAgent])


def test_a_reward_of_another_kind() -> None:
    env = ChannelPruningEnv(ToyEvaluator(5, seed=100), preserve=0.4, reward="accuracy-guaranteed", cost="parameters")
    _, records = searched(env, 25)
    assert max(r["reward"] for r in records) > records[0]["reward"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": 0}, "clusters 0"),
        ({"initial": 0}, "initial 0"),
        ({"signal": "luck"}, "signal 'luck'"),
        ({"rollback": 0}, "rollback 0"),
        ({"similarity": "other"}, "similarity 'other'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptiveClusteredBOAgent(seed=0, **options)


@pytest.mark.parametrize(("rows", "columns"), [(9, 27), (9, 1), (9, 200), (40, 3)])
def test_the_screening_design_is_of_different_rows_with_both_signs(rows: int, columns: int) -> None:
    signs = two_level(rows, columns, np.random.default_rng(0))
    assert signs.shape == (rows, columns)
    assert set(np.unique(signs)) == {-1, 1}
    if columns >= 27:
        assert len({tuple(row) for row in signs}) == rows
        assert abs(signs.mean(axis=1)).max() < 0.6  # no row moves all layers one way

"""The trust region's rules by hand, its candidates, restarts, and the model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from searches import evaluation

from prunebench.agents.parts.surrogate import Preset, Surrogate
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.agents.turbo import SHORTEST, TrustRegion, TuRBOAgent, trust_region_model
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def lengths(region: TrustRegion, rewards: list[float]) -> list[float]:
    """The region's length after each of ``rewards``; the first one is the best reward to begin with."""
    best, result = rewards[0], []
    for reward in rewards[1:]:
        region.update(reward, best)
        best = max(best, reward)
        result.append(region.length)
    return result


def test_three_successes_in_a_row_double_the_length_up_to_the_largest() -> None:
    assert lengths(TrustRegion(5), [0.1 * i for i in range(1, 9)]) == [0.8, 0.8, 1.6, 1.6, 1.6, 1.6, 1.6]


def test_failures_in_a_row_halve_the_length() -> None:
    assert lengths(TrustRegion(7), [0.5] * 15) == [0.8] * 6 + [0.4] * 7 + [0.2]


@pytest.mark.parametrize(
    ("layers", "evaluations", "tolerance"), [(1, 100, 4), (7, 100, 7), (50, 100, 10), (50, 1000, 50), (50, 3, 4)]
)
def test_as_many_failures_as_layers_but_a_share_of_the_run(layers: int, evaluations: int, tolerance: int) -> None:
    agent = TuRBOAgent(seed=0)
    agent.setup(toy_env(layers).reset()[1], evaluations)
    assert agent._region == TrustRegion(tolerance)


def test_a_success_ends_a_row_of_failures_and_the_other_way_round() -> None:
    assert lengths(TrustRegion(4), [0.5, 0.5, 0.5, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5]) == [0.8] * 7 + [0.4]
    assert lengths(TrustRegion(4), [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]) == [0.8] * 5 + [1.6]


def test_an_improvement_counts_from_a_thousandth_on() -> None:
    for best in (0.5, -0.5):
        region = TrustRegion(4)
        region.update(best + 0.0004, best)
        assert (region.successes, region.failures) == (0, 1)
        region.update(best + 0.0006, best)
        assert (region.successes, region.failures) == (1, 0)


def test_it_is_exhausted_below_the_smallest_length() -> None:
    region = TrustRegion(4)
    assert not TrustRegion(4, length=SHORTEST).exhausted
    assert lengths(region, [0.5] * 29)[-2:] == [0.8 / 2**6, 0.8 / 2**7]
    assert region.exhausted


def test_candidates_differ_in_about_twenty_coordinates_and_stay_in_the_region() -> None:
    rng = np.random.default_rng(0)
    centre, sobol = rng.uniform(0.3, 0.7, 50), rng.random((500, 50))
    scales = np.r_[np.full(25, 0.2), np.full(25, 0.8)]
    points = TrustRegion(50, length=0.2).candidates(centre, scales, sobol, rng)
    moved = points != centre
    assert 19 <= moved.sum(axis=1).mean() <= 21
    assert moved.any(axis=1).all()
    reach = np.abs(points - centre).max(axis=0)
    assert reach[:25] == pytest.approx(0.05, rel=0.1)  # half of 0.2, and half or twice as much by the lengthscales
    assert reach[25:] == pytest.approx(0.2, rel=0.1)


def test_candidates_stay_in_the_box() -> None:
    rng = np.random.default_rng(0)
    points = TrustRegion(3, length=1.6).candidates(np.array([0.0, 0.5, 1.0]), np.ones(3), rng.random((200, 3)), rng)
    assert points.min() >= 0
    assert points.max() <= 1
    assert (points != [0.0, 0.5, 1.0]).all()


def data(n: int, d: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.random((n, d))
    return x, np.exp(-4 * ((x - rng.uniform(0.2, 0.9, d)) ** 2).mean(axis=1))


def test_the_model_predicts_within_the_published_bounds() -> None:
    x, y = data(80, 4)
    model = Surrogate(Preset(trust_region_model), np.random.default_rng(0)).fit(x[:60], y[:60])
    with torch.no_grad():
        predicted = model.posterior(torch.as_tensor(x[60:])).mean[:, 0].numpy()
    assert np.corrcoef(predicted, y[60:])[0, 1] > 0.95
    scales = model.covar_module.base_kernel.lengthscale.detach()
    assert scales.shape == (1, 4)
    assert 0.005 <= float(scales.min()) <= float(scales.max()) <= 4.0
    assert 1e-8 <= model.likelihood.noise.item() <= 1e-3


def test_it_ignores_the_global_generator() -> None:
    policies = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        env = toy_env(4, preserve=0.4)
        TuRBOAgent(seed=0).search(env, 6)
        policies.append(list(env.memory))
    assert policies[0] == policies[1]


def test_no_policy_is_evaluated_twice_and_all_are_on_budget() -> None:
    env = toy_env(6, preserve=0.4)
    TuRBOAgent(seed=0).search(env, 30)
    assert len(env.memory) == 30
    budget = Budget.from_info(env.reset()[1])
    for counts in env.memory:
        assert budget.project(budget.ratios(counts)).tolist() == list(counts)


def test_a_region_smaller_than_a_channel_ends() -> None:
    agent = TuRBOAgent(seed=0)
    env = toy_env(4, preserve=0.4)
    agent.search(env, 14)
    agent._region.length = SHORTEST
    agent.ask()
    assert agent._outcomes == []
    assert agent._region == TrustRegion(4)


def test_an_exhausted_region_restarts_with_a_new_design() -> None:
    agent = TuRBOAgent(seed=0)
    agent.setup(toy_env(4, preserve=0.4).reset()[1], 100)
    first = agent._design
    for _ in range(11):
        counts = agent._budget.counts(agent.ask())
        agent.tell(evaluation(0.5, realised=agent._budget.ratios(counts).tolist(), channels=counts.tolist()))
    assert len(agent._outcomes) == 11
    agent._region.length, agent._region.failures = SHORTEST, 3
    agent.tell(evaluation(0.5, realised=[0.4] * 4, channels=[13] * 4))
    assert agent._outcomes == []
    assert agent._surrogate.state is None
    assert agent._region == TrustRegion(4)
    assert not np.allclose(agent._design, first)
    assert agent.ask() == pytest.approx(agent._budget.ratios(agent._budget.project(agent._design[0])))


@pytest.mark.parametrize(("layers", "preserve", "lower_bound"), [(1, 0.4, 0.1), (5, 1.0, 0.1), (3, 1.0, 1.0)])
def test_nothing_to_choose_is_silent_too(
    layers: int, preserve: float, lower_bound: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """All policies are one and the same: the regions are used up at once, and every design is evaluated."""
    env = ChannelPruningEnv(ToyEvaluator(layers), preserve=preserve, lower_bound=lower_bound, budget="project")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        TuRBOAgent(seed=0).search(env, 20)
    assert len(env.memory) == 1
    assert capfd.readouterr() == ("", "")


def rewards(agent: Any, evaluations: int) -> list[float]:
    env = ChannelPruningEnv(ToyEvaluator(12, seed=100), preserve=0.4)
    agent.search(env, evaluations)
    return [score.accuracy for score in env.memory.values()]


def test_beats_random_search() -> None:
    """12 layers, 30 evaluations, two seeds: the worse run is better than the best of five random ones."""
    best = [max(rewards(TuRBOAgent(seed=seed), 30)) for seed in range(2)]
    assert min(best) > max(max(rewards(RandomSearchAgent(seed=seed), 30)) for seed in range(5))

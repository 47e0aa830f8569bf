"""What the sampler is told, when it begins to model, and that it is silent."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import optuna
import pytest

from prunebench.agents.random_search import RandomSearchAgent
from prunebench.agents.tpe import TPEAgent
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def searched(evaluations: int, layers: int = 5, seed: int = 0) -> tuple[TPEAgent, ChannelPruningEnv]:
    agent, env = TPEAgent(seed=seed), toy_env(layers, preserve=0.4)
    agent.search(env, evaluations)
    return agent, env


def rewards(agent: Any, evaluations: int) -> list[float]:
    env = ChannelPruningEnv(ToyEvaluator(12, seed=100), preserve=0.4)
    agent.search(env, evaluations)
    return [score.accuracy for score in env.memory.values()]


def test_the_study_holds_every_evaluation_by_the_ratios_asked_for() -> None:
    agent, env = searched(20)
    trials = agent._study.trials
    assert [trial.state for trial in trials] == [optuna.trial.TrialState.COMPLETE] * 20
    budget = Budget.from_info(env.reset()[1])
    for trial in trials:
        asked = [trial.params[f"layer{i}"] for i in range(5)]
        assert 0.1 <= min(asked) <= max(asked) <= 1
        assert env.memory[tuple(budget.project(asked).tolist())].accuracy == trial.value


def test_proposals_are_on_budget() -> None:
    _, env = searched(30)
    budget = Budget.from_info(env.reset()[1])
    for counts in env.memory:
        assert budget.project(budget.ratios(counts)).tolist() == list(counts)


@pytest.mark.parametrize(("evaluations", "startup"), [(1, 3), (20, 4), (50, 10), (200, 10)])
def test_random_policies_are_a_bounded_share(monkeypatch: pytest.MonkeyPatch, evaluations: int, startup: int) -> None:
    made: list[dict[str, Any]] = []
    sampler = optuna.samplers.TPESampler
    monkeypatch.setattr("optuna.samplers.TPESampler", lambda **options: (made.append(options), sampler(**options))[1])
    TPEAgent(seed=7).setup(toy_env(2).reset()[1], evaluations)
    assert made == [{"seed": 7, "multivariate": True, "n_startup_trials": startup}]


def test_it_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Also where the user has turned Optuna's reports on; not even a warning."""
    optuna.logging.set_verbosity(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        searched(12)
    assert capfd.readouterr() == ("", "")


def test_one_possible_ratio() -> None:
    """A lower bound of 1 leaves the sampler nothing to model."""
    env = ChannelPruningEnv(ToyEvaluator(3), preserve=1.0, lower_bound=1.0)
    TPEAgent(seed=0).search(env, 12)
    assert list(env.memory) == [(32, 32, 32)]


def test_beats_random_search() -> None:
    """12 layers, 60 evaluations, two seeds: the worse run is better than the best of five random ones."""
    best = [max(rewards(TPEAgent(seed=seed), 60)) for seed in range(2)]
    assert min(best) > max(max(rewards(RandomSearchAgent(seed=seed), 60)) for seed in range(5))

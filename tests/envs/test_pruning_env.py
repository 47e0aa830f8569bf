from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import prunebench.envs  # noqa: F401 - registers the environment
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env


def play(env: gymnasium.Env[Any, Any], ratios: list[float], **options: Any) -> tuple[float, dict[str, Any]]:
    env.reset(options=options or None)
    for ratio in ratios:
        observation, reward, terminated, truncated, info = env.step(np.array([ratio], dtype=np.float32))
        assert env.observation_space.contains(observation)
        assert not truncated
    assert terminated
    return float(reward), info["evaluation"]


@pytest.mark.parametrize("budget", ["wall", "project"])
@pytest.mark.parametrize("name", ["resnet20", "resnet56", "mobilenetv2"])
def test_gymnasiums_checker_has_nothing_to_say(name: str, budget: str, checkpoint: Callable[[str], str]) -> None:
    env = gymnasium.make(
        "prunebench/ChannelPruning-v0",
        preserve=0.5,
        budget=budget,
        model=name,
        weights=checkpoint(name),
        reward_images=20,
        calibration_images=40,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("budget", ["wall", "project"])
def test_a_policy_on_budget_is_realised_as_it_is(budget: str) -> None:
    env = toy_env(budget=budget)
    _, info = env.reset()
    limits = Budget.from_info(info)
    counts = limits.project(np.array([0.3, 0.9, 0.2, 0.5, 0.7]))
    _, evaluation = play(env, list(limits.ratios(counts)))
    assert evaluation["channels"] == list(counts)
    assert evaluation["feasible"]
    assert evaluation["cost"] <= 0.5


@pytest.mark.parametrize("budget", ["wall", "project"])
def test_greedy_requests_are_limited(budget: str) -> None:
    _, evaluation = play(toy_env(budget=budget), [1.0] * 5)
    assert evaluation["requested"] == [1.0] * 5
    assert evaluation["cost"] <= 0.5
    assert evaluation["realised"] == [n / 32 for n in evaluation["channels"]]


def test_project_mode_uses_the_budget_and_wall_mode_only_bounds_it() -> None:
    small = [0.1] * 5
    assert play(toy_env(budget="project"), small)[1]["cost"] > 0.49
    assert play(toy_env(budget="wall"), small)[1]["cost"] < 0.12


@pytest.mark.parametrize("budget", ["wall", "project"])
def test_a_probe_is_not_limited_and_says_that_it_is_infeasible(budget: str) -> None:
    env = toy_env(budget=budget)
    _, evaluation = play(env, [1.0] * 5, budget="none")
    assert evaluation["channels"] == [32] * 5
    assert not evaluation["feasible"]
    assert play(env, [1.0] * 5)[1]["feasible"]  # only that episode


def test_requests_below_the_lower_bound_are_raised_to_it() -> None:
    _, evaluation = play(toy_env(), [0.0] * 5)
    assert evaluation["requested"] == [0.0] * 5
    assert evaluation["channels"] == [3] * 5  # 0.1 of 32, rounded


@pytest.mark.parametrize("mode", ["wall", "project", "none"])
def test_channels_are_kept_in_multiples(mode: str) -> None:
    evaluator = ToyEvaluator(2, channels=20)  # 8 and 20 have 4 in common
    env = ChannelPruningEnv(evaluator, budget="project" if mode == "project" else "wall", round_to=8)
    _, evaluation = play(env, [0.27, 0.48], **({"budget": "none"} if mode == "none" else {}))
    assert evaluation["channels"] == {"wall": [4, 8], "project": [8, 12], "none": [4, 8]}[mode]
    assert play(env, [0.0, 0.0])[1]["channels"][0] >= 4


def test_rewards() -> None:
    reward, evaluation = play(toy_env(), [0.4] * 5)
    assert reward == evaluation["reward"] == evaluation["accuracy"]
    env = ChannelPruningEnv(ToyEvaluator(), reward="accuracy-guaranteed")
    reward, evaluation = play(env, [0.4] * 5)
    assert reward == pytest.approx(-(1 - evaluation["accuracy"]) * math.log(evaluation["macs"]))


def test_a_policy_that_was_scored_is_answered_from_memory() -> None:
    env = toy_env()
    first = play(env, [0.4] * 5)
    assert play(env, [0.4] * 5) == first
    assert env.evaluator.calls == 1  # type: ignore[attr-defined]


def test_observations_are_amcs() -> None:
    env = toy_env()
    table, dense = env.evaluator.layers, env.evaluator.costs["macs"]
    observation, _ = env.reset()
    assert observation[10] == 1.0  # no previous action yet
    for t in range(3):
        assert observation[0] == pytest.approx(t / 4)
        assert observation[7] == pytest.approx(table["macs"][t] / max(table["macs"]))
        assert observation[9] == pytest.approx(sum(table["macs"][t + 1 :]) / sum(table["macs"]))
        observation, *_ = env.step(np.array([0.5], dtype=np.float32))
        counts = [16] * (t + 1) + [32] * (4 - t)
        assert observation[8] == pytest.approx(1 - dense(counts) / dense([32] * 5))
        assert observation[10] == 0.5


@pytest.mark.parametrize("action", [[np.nan], [np.inf], [-0.05], [1.2], [0.5, 0.5], 0.5])
def test_actions_outside_the_space_are_refused(action: object) -> None:
    env = toy_env()
    env.reset()
    with pytest.raises(ValueError, match="expected"):
        env.step(np.array(action, dtype=np.float32))


def test_stepping_past_the_end_is_an_error() -> None:
    env = toy_env()
    play(env, [0.5] * 5)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.array([0.5], dtype=np.float32))


@pytest.mark.parametrize(("name", "value"), [("preserve", math.nan), ("preserve", 1.5), ("lower_bound", 0.0)])
def test_fractions_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} {value}: expected"):
        ChannelPruningEnv(ToyEvaluator(), **{name: value})


def test_unknown_modes_and_rewards_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'walls'.*project, wall"):
        toy_env(budget="walls")
    with pytest.raises(ValueError, match=r"'acc'.*accuracy"):
        ChannelPruningEnv(ToyEvaluator(), reward="acc")

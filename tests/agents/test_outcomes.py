"""What a search maximises, and the policies that it does not ask for again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prunebench.agents.parts.outcomes import check_signal, outcome
from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.rewards import REWARDS
from prunebench.envs.environment.toy import toy_env


def evaluation(accuracy: float, loss: float, reward: str = "accuracy") -> dict[str, float]:
    return {"accuracy": accuracy, "loss": loss, "macs": 1000, "reward": REWARDS[reward](accuracy, 1000)}


@pytest.mark.parametrize("reward", REWARDS)
def test_a_signal_is_the_reward_or_the_reward_of_the_likelihood(reward: str) -> None:
    found = evaluation(0.7, 0.5, reward)
    assert outcome(found, "reward") == found["reward"]
    assert outcome(found, "loss") == pytest.approx(REWARDS[reward](math.exp(-0.5), 1000))


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("signal", ["reward", "loss"])
@pytest.mark.parametrize("reward", REWARDS)
def test_a_loss_that_is_no_number_is_the_worst(reward: str, signal: str, loss: float) -> None:
    worst = outcome(evaluation(1.0, loss, reward), signal)
    assert math.isfinite(worst)
    assert worst <= outcome(evaluation(0.0, 50.0, reward), signal)


def test_an_unknown_signal_is_named() -> None:
    with pytest.raises(ValueError, match="signal 'luck': expected one of reward, loss"):
        check_signal("luck")


def test_another_policy_is_near_and_on_budget_until_there_is_none() -> None:
    env = toy_env(3, preserve=0.4)
    budget = Budget.from_info(env.reset()[1])
    seen = Seen(budget, np.random.default_rng(0))
    start = budget.project(np.full(3, 0.5))
    found = []
    for _ in range(30):
        other = seen.unseen(start)
        assert other not in seen
        assert budget.project(budget.ratios(other)).tolist() == other.tolist()
        seen.add(other.tolist())
        found.append(np.abs(other - start).max())
    assert found[0] == 0
    assert max(found[1:4]) <= 6  # a channel of a dear layer is worth several of a cheap one
    alone = toy_env(1, preserve=0.4)
    only = Budget.from_info(alone.reset()[1])
    seen = Seen(only, np.random.default_rng(0))
    seen.add(only.project([0.5]).tolist())
    assert seen.unseen(only.project([0.5])) in seen  # the one policy that there is

"""What agents maximise, whatever an evaluation says, and that evaluations without a number never end their learning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from searches import Recording, evaluation

from prunebench.agents.bo import BOAgent
from prunebench.agents.clustered_bo import ClusteredBOAgent
from prunebench.agents.cma_es import CMAESAgent
from prunebench.agents.ddpg import DDPGAgent
from prunebench.agents.parts.episode_rewards import Outcomes
from prunebench.agents.parts.outcomes import outcome
from prunebench.agents.sac import SACAgent
from prunebench.agents.tpe import TPEAgent
from prunebench.agents.turbo import TuRBOAgent
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, Score
from prunebench.envs.environment.toy import ToyEvaluator

BLACK_BOX = [BOAgent, ClusteredBOAgent, TuRBOAgent, CMAESAgent, TPEAgent]
LAYERWISE = [DDPGAgent, SACAgent]


def test_the_outcome_is_the_reward_or_the_reward_of_the_likelihood() -> None:
    one = evaluation(0.7, loss=0.5)
    assert outcome(one, "reward") == 0.7
    assert outcome(one, "loss") == pytest.approx(math.exp(-0.5))
    guaranteed = evaluation(-4.0, accuracy=0.7, loss=0.5)
    assert outcome(guaranteed, "reward") == -4.0
    assert outcome(guaranteed, "loss") == pytest.approx(-(1 - math.exp(-0.5)) * math.log(1_000_000))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("signal", ["reward", "loss"])
def test_no_loss_is_the_worst_outcome_there_is(signal: str, loss: float) -> None:
    assert outcome(evaluation(0.1, loss=loss), signal) == 0
    assert outcome(evaluation(-4.0, accuracy=0.1, loss=loss), signal) == pytest.approx(-math.log(1_000_000))


class Breaking(ToyEvaluator):
    """Every fifth policy breaks the network."""

    def score(self, counts: tuple[int, ...]) -> Score:
        score = super().score(counts)
        return score if self.calls % 5 else Score(0.1, math.nan)


@pytest.mark.parametrize("agent", BLACK_BOX)
def test_broken_networks_do_not_end_learning(agent: Any) -> None:
    """A fifth of the run has no loss; its second half is better than its first."""
    env = Recording(ChannelPruningEnv(Breaking(6, seed=100), preserve=0.4))
    agent(seed=0, signal="loss").search(env, 24)
    rewards = np.array([record["reward"] for record in env.records if math.isfinite(record["loss"])])
    half = len(rewards) // 2
    assert np.median(rewards[half:]) > np.median(rewards[:half])


@pytest.mark.parametrize("agent", LAYERWISE)
def test_broken_networks_leave_actors_finite(agent: Any) -> None:
    env = ChannelPruningEnv(Breaking(8, seed=100), preserve=0.4)
    made = agent(seed=0, warmup=8, signal="loss")
    learner = made.learner(Outcomes(env, made.signal), 8, 8)
    learner.learn(12 * 8)
    assert learner._n_updates == 4 * 8
    assert all(bool(parameter.isfinite().all()) for parameter in learner.actor.parameters())
    assert np.isfinite(learner.replay_buffer.rewards).all()


class Contrary(ToyEvaluator):
    """The more accurate a policy, the larger its loss."""

    def score(self, counts: tuple[int, ...]) -> Score:
        accuracy, loss = super().score(counts)
        return Score(accuracy, 2 - loss)


def test_only_the_last_steps_reward_is_another() -> None:
    env = Outcomes(ChannelPruningEnv(Contrary(2)), "loss")
    env.reset()
    assert env.step(np.array([0.5]))[1] == 0
    _, reward, terminated, _, info = env.step(np.array([0.5]))
    assert terminated
    assert reward == math.exp(-info["evaluation"]["loss"]) != info["evaluation"]["reward"]


@pytest.mark.parametrize("agent", BLACK_BOX + LAYERWISE)
def test_other_signals_are_named(agent: Any) -> None:
    with pytest.raises(ValueError, match="signal 'error': expected one of reward, loss"):
        agent(seed=0, signal="error")


@pytest.mark.parametrize("agent", BLACK_BOX)
def test_the_signal_is_what_is_learned(agent: Any) -> None:
    found = []
    for signal in ("reward", "loss"):
        env = Recording(ChannelPruningEnv(Contrary(3, seed=100), preserve=0.4))
        agent(seed=0, signal=signal).search(env, 16)
        found.append([record["requested"] for record in env.records])
    assert found[0][:3] == found[1][:3]
    assert found[0] != found[1]

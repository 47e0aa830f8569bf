"""AMC (He et al. 2018): DDPG on stable-baselines3. docs/agents/ddpg.md lists what differs from the paper."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import truncnorm
from stable_baselines3 import DDPG
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import update_learning_rate

from prunebench.agents.base import Agent
from prunebench.agents.parts.episode_rewards import BATCH, Outcomes, settings
from prunebench.agents.parts.outcomes import Signal, check_signal, published

ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
PAPER_WARMUP = 100
FIRST_SIGMA, SIGMA_DECAY = 1.0, 0.95  # AMC's 0.5 on [0, 1] is 1.0 on SB3's [-1, 1]


class AMC(DDPG):
    """SB3's DDPG with AMC's exploration and its two learning rates.

    Args:
        env: the pruning environment.
        layers: steps per episode.
        warmup: episodes of uniform actions, without updates.
        seed: seeds SB3's global generators (networks, batches) and the exploration.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, layers: int, warmup: int, seed: int) -> None:
        self.layers = layers
        self.warmup = warmup
        self.exploration = np.random.default_rng(seed)
        super().__init__(
            "MlpPolicy",
            env,
            tau=0.01,
            policy_kwargs={
                "net_arch": {"pi": [300, 300], "qf": [300, 300]},
                "optimizer_kwargs": {"fused": True},  # one kernel per step: the same numbers but for rounding
            },
            seed=seed,
            **settings(layers, warmup),
        )
        self.set_logger(Logger(folder=None, output_formats=[]))  # SB3's default makes a folder

    @property
    def sigma(self) -> float:
        """The noise's standard deviation in the current episode, in SB3's units."""
        decayed = FIRST_SIGMA * SIGMA_DECAY ** (self._episode_num - self.warmup)
        return max(decayed, 1e-9)  # after very many episodes it would be rounded to 0

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        actor, critic = optimizers  # type: ignore[misc]
        update_learning_rate(actor, ACTOR_RATE)
        update_learning_rate(critic, CRITIC_RATE)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        shape = (n_envs, 1)
        if self.num_timesteps < learning_starts:
            scaled = self.exploration.uniform(-1.0, 1.0, shape)
        else:
            assert isinstance(self._last_obs, np.ndarray)
            mean = self.policy.scale_action(self.predict(self._last_obs)[0])
            low, high = (-1 - mean) / self.sigma, (1 - mean) / self.sigma
            scaled = truncnorm.rvs(low, high, mean, self.sigma, size=shape, random_state=self.exploration)
        scaled = np.clip(scaled, -1.0, 1.0).astype(np.float32)
        return self.policy.unscale_action(scaled), scaled


class LayerwiseAgent(Agent):
    """Learns after each episode that follows a warm-up of uniform actions.

    Args:
        seed: the seed of everything random.
        warmup: episodes of the warm-up. Default: an eighth of the evaluations (AMC: 100 of 800), rounded up, but at
            least what fills one batch of 64 transitions.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(self, *, seed: int, warmup: int | None, signal: Signal) -> None:
        super().__init__(seed=seed)
        if warmup is not None and warmup < 1:
            raise ValueError(f"warmup {warmup}: expected at least 1 episode")
        check_signal(signal)
        self.warmup, self.signal = warmup, signal

    @abstractmethod
    def learner(self, env: gymnasium.Env[Any, Any], layers: int, warmup: int) -> OffPolicyAlgorithm:
        """What learns, from episodes of ``layers`` steps, of which the first ``warmup`` are uniform."""

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run ``evaluations`` episodes."""
        _, info = env.reset()
        layers = len(info["layers"]["channels"])
        warmup = self.warmup or max(math.ceil(evaluations / 8), math.ceil(BATCH / layers))
        if warmup >= evaluations:
            self.notes = {"remarks": [f"all {evaluations} evaluations are warm-up ({warmup}): random, nothing learned"]}
        self.learner(Outcomes(env, self.signal), layers, warmup).learn(evaluations * layers)


class DDPGAgent(LayerwiseAgent):
    """AMC's reinforcement-learning agent.

    Args:
        seed: the seed of everything random.
        preset: ``scaled``, whose warm-up is an eighth of the evaluations (AMC: 100 of 800), rounded up, but at least
            what fills one batch of 64 transitions; or ``paper``: 100 episodes, to be run with 800 evaluations.
        warmup: episodes of uniform actions, instead of the preset's.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`. Default: the loss, but with
            ``paper`` the reward, as published.
    """

    def __init__(
        self,
        *,
        seed: int,
        preset: Literal["scaled", "paper"] = "scaled",
        warmup: int | None = None,
        signal: Signal | None = None,
    ) -> None:
        if preset not in ("scaled", "paper"):
            raise ValueError(f"preset {preset!r}: expected one of scaled, paper")
        warmup = PAPER_WARMUP if warmup is None and preset == "paper" else warmup
        super().__init__(seed=seed, warmup=warmup, signal=published(signal, preset == "paper"))

    def learner(self, env: gymnasium.Env[Any, Any], layers: int, warmup: int) -> AMC:
        """AMC's DDPG."""
        return AMC(env, layers=layers, warmup=warmup, seed=self.seed)

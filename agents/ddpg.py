"""AMC (He et al. 2018): DDPG on stable-baselines3. docs/agents/ddpg.md lists what differs from the paper."""

from __future__ import annotations

import math
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import truncnorm
from stable_baselines3 import DDPG
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import update_learning_rate
from stable_baselines3.common.vec_env import VecNormalize

from prunebench.agents.base import Agent

ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
BATCH = 64
PAPER_WARMUP = 100
BASELINE_WEIGHT = 0.5  # of the newest batch's mean reward in the moving average
FIRST_SIGMA, SIGMA_DECAY = 1.0, 0.95  # AMC's 0.5 on [0, 1] is 1.0 on SB3's [-1, 1]


class EpisodeRewardBuffer(ReplayBuffer):
    """A replay buffer with AMC's two reward rules, for one environment.

    At the end of an episode its last reward is written on all its transitions; a moving average of
    the sampled batches' mean rewards (the newest counting half, itself included) is subtracted from a sample.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.baseline: float | None = None
        self._episode: list[int] = []

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one transition; on ``done`` rewrite the episode's rewards."""
        self._episode.append(self.pos)
        super().add(obs, next_obs, action, reward, done, infos)
        if done[0]:
            self.rewards[self._episode] = reward
            self._episode = []

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        mean = float(samples.rewards.mean())
        if self.baseline is None:
            self.baseline = mean
        else:
            self.baseline += BASELINE_WEIGHT * (mean - self.baseline)
        return samples._replace(rewards=samples.rewards - self.baseline)


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
            buffer_size=100 * layers,
            learning_starts=warmup * layers,
            batch_size=BATCH,
            tau=0.01,
            gamma=1.0,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            replay_buffer_class=EpisodeRewardBuffer,
            policy_kwargs={
                "net_arch": {"pi": [300, 300], "qf": [300, 300]},
                "optimizer_kwargs": {"fused": True},  # one kernel per step: the same numbers but for rounding
            },
            seed=seed,
            device="cpu",
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


class DDPGAgent(Agent):
    """AMC's reinforcement-learning agent.

    Args:
        seed: the seed of everything random.
        preset: ``scaled``, whose warm-up is an eighth of the evaluations (AMC: 100 of 800), rounded up, but at least
            what fills one batch of 64 transitions; or ``paper``: 100 episodes, to be run with 800 evaluations.
        warmup: episodes of uniform actions, instead of the preset's.
    """

    def __init__(self, *, seed: int, preset: Literal["scaled", "paper"] = "scaled", warmup: int | None = None) -> None:
        super().__init__(seed=seed)
        if preset not in ("scaled", "paper"):
            raise ValueError(f"preset {preset!r}: expected one of scaled, paper")
        if warmup is not None and warmup < 1:
            raise ValueError(f"warmup {warmup}: expected at least 1 episode")
        self.warmup = PAPER_WARMUP if warmup is None and preset == "paper" else warmup

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run ``evaluations`` episodes, learning after each one that follows the warm-up."""
        _, info = env.reset()
        layers = len(info["layers"]["channels"])
        warmup = self.warmup or max(math.ceil(evaluations / 8), math.ceil(BATCH / layers))
        if warmup >= evaluations:
            self.notes = {"remarks": [f"all {evaluations} evaluations are warm-up ({warmup}): random, nothing learned"]}
        AMC(env, layers=layers, warmup=warmup, seed=self.seed).learn(evaluations * layers)

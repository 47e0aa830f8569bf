"""What agents that learn layer by layer share: what the last step earns, and how and when they learn from it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from prunebench.agents.parts.outcomes import outcome

BASELINE_WEIGHT = 0.5  # of the newest batch's mean reward in the moving average
BATCH = 64


class Outcomes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The environment, its last step's reward replaced by the evaluation's outcome.

    Args:
        env: the pruning environment.
        signal: see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], signal: str) -> None:
        super().__init__(env)
        self._signal = signal

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Set one layer's ratio."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            reward = outcome(info["evaluation"], self._signal)
        return observation, reward, terminated, truncated, info


class EpisodeRewardBuffer(ReplayBuffer):
    """A replay buffer with AMC's two reward rules, for one environment, which draws batches without replacement.

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

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch of distinct transitions, where there are as many."""
        stored = self.size()
        return self._get_samples(np.random.choice(stored, batch_size, replace=stored < batch_size), env)

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        mean = float(samples.rewards.mean())
        if self.baseline is None:
            self.baseline = mean
        else:
            self.baseline += BASELINE_WEIGHT * (mean - self.baseline)
        return samples._replace(rewards=samples.rewards - self.baseline)


def settings(layers: int, warmup: int) -> dict[str, Any]:
    """AMC's settings of an off-policy algorithm of stable-baselines3, whatever it learns from a batch.

    Args:
        layers: steps per episode.
        warmup: episodes of uniform actions, without updates.
    """
    return {
        "buffer_size": 100 * layers,
        "learning_starts": warmup * layers,
        "batch_size": BATCH,
        "gamma": 1.0,
        "train_freq": (1, "episode"),
        "gradient_steps": -1,  # as many as the episode had steps
        "replay_buffer_class": EpisodeRewardBuffer,
        "device": "cpu",
    }

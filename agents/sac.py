"""Soft actor-critic (Haarnoja et al. 2018) on stable-baselines3, by AMC's rules of episodes: docs/agents/sac.md."""

from __future__ import annotations

from typing import Any

import gymnasium
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

from prunebench.agents.ddpg import LayerwiseAgent
from prunebench.agents.parts.episode_rewards import settings
from prunebench.agents.parts.outcomes import Signal


class SACAgent(LayerwiseAgent):
    """SB3's SAC, which learns a distribution of each layer's ratio and how random it should be.

    Args:
        seed: the seed of everything random.
        warmup: episodes of uniform actions, without updates. Default: as in :class:`prunebench.agents.ddpg.DDPGAgent`.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(self, *, seed: int, warmup: int | None = None, signal: Signal = "loss") -> None:
        super().__init__(seed=seed, warmup=warmup, signal=signal)

    def learner(self, env: gymnasium.Env[Any, Any], layers: int, warmup: int) -> SAC:
        """SAC with the library's own networks, rates and entropy."""
        fused = {"optimizer_kwargs": {"fused": True}}  # one kernel per step: the same numbers but for rounding
        model = SAC("MlpPolicy", env, policy_kwargs=fused, seed=self.seed, **settings(layers, warmup))
        model.set_logger(Logger(folder=None, output_formats=[]))  # SB3's default makes a folder
        return model

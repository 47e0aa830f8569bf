"""Control: the same preserve ratio everywhere."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np

from prunebench.agents.base import Agent, run_episode
from prunebench.envs.environment.budget import Budget


class UniformAgent(Agent):
    """One evaluation of the policy that gives every layer one and the same ratio and meets the budget.

    Up to whole channels: the ratios are rounded down and what is left of the budget is filled
    (:meth:`prunebench.envs.environment.budget.Budget.project`), so the wall leaves the policy as it is.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"deterministic", "may_stop_early"})
    most_evaluations: ClassVar[int | None] = 1

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run one episode, whatever ``evaluations`` allows."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        # Any constant will do: the projection shifts all layers alike.
        counts = budget.project(np.full(len(budget.channels), 0.5))
        run_episode(env, budget.ratios(counts))

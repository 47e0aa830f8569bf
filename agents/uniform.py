"""Control: the same preserve ratio everywhere."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium

from prunebench.agents.base import Agent, run_episode
from prunebench.envs.environment.budget import Budget


class UniformAgent(Agent):
    """One evaluation of the policy that gives every layer one and the same ratio and spends the whole budget, see
    :meth:`prunebench.envs.environment.budget.Budget.uniform`. The wall leaves it as it is.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"deterministic", "may_stop_early"})
    most_evaluations: ClassVar[int | None] = 1

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run one episode, whatever ``evaluations`` allows."""
        _, info = env.reset()
        budget = Budget.from_info(info)
        run_episode(env, budget.ratios(budget.uniform()))

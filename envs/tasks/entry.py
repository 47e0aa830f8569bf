"""The entry point of ``gymnasium.make``."""

from __future__ import annotations

from typing import Any

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.tasks import costs
from prunebench.envs.tasks.preparation import prepared_evaluator
from prunebench.envs.tasks.task import TaskConfig


def make_channel_pruning_env(
    *,
    preserve: float,
    cost: str = "macs",
    budget: str = "wall",
    lower_bound: float = 0.1,
    reward: str = "accuracy",
    **task: Any,
) -> ChannelPruningEnv:
    """The entry point of ``gymnasium.make``: the environment of a task.

    Args:
        preserve: see :class:`prunebench.envs.environment.channel_pruning.ChannelPruningEnv`.
        cost: a name in :data:`prunebench.envs.tasks.costs.COSTS`.
        budget: ``wall`` or ``project``.
        lower_bound: smallest preserve ratio of a layer.
        reward: name of the reward.
        **task: fields of :class:`prunebench.envs.tasks.task.TaskConfig`. The first environment of a task prepares it,
            which may train its network.

    Raises:
        TaskError: the task cannot be set up.
        BudgetError: the budget is below what the lower bound allows.
    """
    config, limited = TaskConfig(**task), costs.named(cost)
    evaluator = prepared_evaluator(config)
    evaluator.costs[cost] = limited.model(config)
    return ChannelPruningEnv(
        evaluator, preserve=preserve, cost=cost, budget=budget, lower_bound=lower_bound, reward=reward
    )

"""What is pruned and how it is scored: the environment ``prunebench/ChannelPruning-v0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from envs.pruning_env import ChannelPruningEnv


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
        preserve: see :class:`envs.pruning_env.ChannelPruningEnv`.
        cost: likewise.
        budget: likewise.
        lower_bound: likewise.
        reward: likewise.
        **task: fields of :class:`envs.task.TaskConfig`. The first environment of a task prepares it, which may
            train its network.

    Raises:
        TaskError: the task cannot be set up.
        BudgetError: the budget is below what the lower bound allows.
    """
    from envs.preparation import ensure_prepared, load_evaluator
    from envs.pruning_env import ChannelPruningEnv
    from envs.task import TaskConfig

    config = TaskConfig(**task)
    ensure_prepared(config)
    evaluator = load_evaluator(config)
    if cost == "latency":
        from envs.latency_budget import load_latency

        evaluator.costs["latency"] = load_latency(config)
    return ChannelPruningEnv(
        evaluator, preserve=preserve, cost=cost, budget=budget, lower_bound=lower_bound, reward=reward
    )


gymnasium.register(id="prunebench/ChannelPruning-v0", entry_point="envs:make_channel_pruning_env")

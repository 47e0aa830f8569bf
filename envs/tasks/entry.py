"""The entry point of ``gymnasium.make``."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import partial
from typing import Any

import torch

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, check_settings
from prunebench.envs.errors import check_choice
from prunebench.envs.tasks import costs
from prunebench.envs.tasks.preparation import prepared_evaluator
from prunebench.envs.tasks.task import TaskConfig

_TASK = [field.name for field in fields(TaskConfig)]
_SETTINGS = ["preserve", "cost", "budget", "lower_bound", "reward", "round_to"]

# A process that was forked off, as AsyncVectorEnv does, lacks the threads that torch has started, and waits for them
# for ever unless it does without.
os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def make_channel_pruning_env(
    *,
    preserve: float,
    cost: str = "macs",
    budget: str = "wall",
    lower_bound: float = 0.1,
    reward: str = "accuracy",
    round_to: int = 1,
    **task: Any,
) -> ChannelPruningEnv:
    """The entry point of ``gymnasium.make``: the environment of a task.

    Args:
        preserve: see :class:`prunebench.envs.environment.channel_pruning.ChannelPruningEnv`.
        cost: a name in :data:`prunebench.envs.tasks.costs.COSTS`.
        budget: ``wall`` or ``project``.
        lower_bound: smallest preserve ratio of a layer.
        reward: name of the reward.
        round_to: channels are kept in multiples of it.
        **task: fields of :class:`prunebench.envs.tasks.task.TaskConfig`. The first environment of a task prepares it,
            which may train its network.

    Raises:
        TaskError: the task cannot be set up, or there is no such option.
        BudgetError: the budget is below what the lower bound allows.
    """
    for name in task:
        check_choice("option", name, (*_SETTINGS, *_TASK))
    check_settings(preserve, budget, lower_bound, reward, round_to)
    config, limited = TaskConfig(**task), costs.named(cost)
    evaluator = prepared_evaluator(config)
    evaluator.costs[cost] = limited.model(config)
    given: dict[str, Any] = {"preserve": preserve, "cost": cost, "budget": budget}
    given |= {"lower_bound": lower_bound, "reward": reward, "round_to": round_to}
    env = ChannelPruningEnv(evaluator, **given)
    env.maker = partial(make_channel_pruning_env, **given, **task)
    return env

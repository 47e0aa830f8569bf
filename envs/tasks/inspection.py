"""Finds out about a task's network what can be known without its weights."""

from __future__ import annotations

from prunebench.envs import device
from prunebench.envs.environment.budget import Budget
from prunebench.envs.networks.baked import baked, example_image
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.tasks import costs, preparation
from prunebench.envs.tasks.budgets import Limit
from prunebench.envs.tasks.keys import fresh_model
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data


def prunable_layers(task: TaskConfig) -> dict[str, int]:
    """The prunable layers' names and channels, in order.

    Raises:
        TaskError: the network or the data cannot be used.
    """
    check_task(task)
    where = device.use(task.device, task.tf32)
    data = load_data(task)
    model = baked(fresh_model(task, data)).to(where)
    example = example_image(data.image_size).to(where)
    network = PrunableNetwork(model, example, task.scope, task.exclude or ())
    return {layer.name: layer.channels for layer in network.layers}


def check_budget(
    task: TaskConfig, cost: str, preserve: float, lower_bound: float, limit: float | None = None, round_to: int = 1
) -> None:
    """Find out before any training whether the network can be pruned to a budget.

    Args:
        task: whose network it is.
        cost: a name in :data:`prunebench.envs.tasks.costs.COSTS`.
        preserve: the budget, as a fraction of the dense network's cost.
        lower_bound: the smallest preserve ratio of a layer.
        limit: the budget in the cost's unit, in place of ``preserve``.
        round_to: channels are kept in multiples of it.

    Raises:
        BudgetError: the budget cannot be met.
        TaskError: the network or the data cannot be used.
    """
    limited, network = costs.named(cost), preparation.random_network(task)
    if limited.measured:
        return
    model = limited.closed_form(network)
    if limit is not None:
        preserve = Limit(cost, limit).share(model, network.channels, lower_bound, round_to)
    Budget.of(model, network.channels, lower_bound, preserve, round_to=round_to)

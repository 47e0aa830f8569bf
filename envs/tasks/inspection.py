"""What can be known of a task's network without its weights."""

from __future__ import annotations

import torch

from prunebench.envs import device
from prunebench.envs.networks import models
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data


def prunable_layers(task: TaskConfig) -> dict[str, int]:
    """The prunable layers' names and channels, in order.

    Raises:
        TaskError: the network or the data cannot be used.
    """
    check_task(task)
    where = device.use(task.device, task.tf32)
    data = load_data(task)
    model = models.build(task.model, len(data.classes)).to(where)
    example = torch.zeros(1, 3, data.image_size, data.image_size, device=where)
    return {layer.name: layer.channels for layer in PrunableNetwork(model, example, task.scope).layers}

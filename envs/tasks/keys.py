"""Where the results of a task are kept: names of files that change with whatever the results depend on."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunebench.envs import cache, device
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.importing import reason
from prunebench.envs.networks import models
from prunebench.envs.networks.baked import example_image, materialised
from prunebench.envs.networks.computed import computed
from prunebench.envs.tasks.task import TaskConfig
from prunebench.envs.weights.checkpoint import load_weights

METHOD = 2
"""How policies are scored: grows whenever the same policy may get another score. 2: a ridge for every column; criteria
over all members of a group."""
_settled: dict[tuple[Any, ...], str] = {}  # what networks compute whose code stays while a process lives


class Dense:
    """The dense network of a task as it is now, and where its weights and its calibration are.

    Everything is found out when it is first asked for, and stays. What was changed since is seen by another object.

    Args:
        task: whose network it is.
        data: the task's data, made when this is.
    """

    def __init__(self, task: TaskConfig, data: ImageData) -> None:
        self.task, self.data = task, data

    @property
    def about(self) -> dict[str, Any]:
        """What is kept for it is for, as plain values."""
        task = self.task
        return {"network": task.model, "weights": task.weights, "dataset": task.dataset, "folder": task.data}

    @cached_property
    def weights_path(self) -> Path:
        """See :func:`weights_path`."""
        return weights_path(self.task, self.data)

    @cached_property
    def model(self) -> nn.Module:
        """The network with its weights, on its device.

        Raises:
            TaskError: it cannot be built, or the weights are not its own.
        """
        where = device.use(self.task.device, self.task.tf32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # for what is random and in no checkpoint: it is the same in every process
            model = fresh_model(self.task, self.data)
        load_weights(model, self.weights_path)
        return model.to(where)

    @cached_property
    def sha256(self) -> str:
        """Hash of what the network computes, see :mod:`prunebench.envs.networks.computed`.

        A user's own is looked at every time: its code may have changed in this process, too.

        Raises:
            TaskError: it does not run on images of the data's size.
        """
        task = self.task
        if models.kind(task.model) == "own":
            return _computed(self)
        key = (task.model, task.device, task.tf32, len(self.data.classes), self.data.image_size, self._weights_sha256)
        if key not in _settled:
            _settled[key] = _computed(self)
        return _settled[key]

    @cached_property
    def calibration_path(self) -> Path:
        """Where the calibration is kept: the name changes with whatever decides a policy's score."""
        task = self.task
        key = data_key(task, self.data) | {
            "weights": self._weights_sha256,
            "images": task.calibration_images,
            "split_seed": task.split_seed,
            "scope": task.scope,
            "exclude": task.exclude,
            "method": METHOD,
            "importance": task.importance,
            "reconstruction": task.reconstruction,
            "network": self.sha256,
            "device": [task.device, task.tf32],
        }
        return cache.path(f"calibration-{models.slug(task.model)}", key)

    @cached_property
    def _weights_sha256(self) -> str:
        return cache.sha256(self.weights_path)


def fresh_model(task: TaskConfig, data: ImageData) -> nn.Module:
    """The task's network as it is built, on the processor."""
    model = models.build(task.model, len(data.classes))
    return materialised(model, example_image(data.image_size))


def _computed(dense: Dense) -> str:
    model, size = dense.model, dense.data.image_size
    try:
        return computed(model, size)
    except Exception as error:
        raise TaskError(
            f"model {dense.task.model!r} does not run on an image of {size} x {size} pixels: {reason(error)}"
        ) from error


def weights_path(task: TaskConfig, data: ImageData) -> Path:
    """The checkpoint of the dense network: the user's, the published one, or where ours is kept once it is trained."""
    if task.weights is not None:
        return Path(task.weights)
    publisher = models.publisher(task.model)
    if publisher is not None:
        return publisher.fetch(task.model)
    key = {"epochs": data.epochs, "classes": data.classes, "seed": task.split_seed}
    return cache.path(f"dense-{task.model}", data_key(task, data) | key)


@lru_cache(maxsize=1)  # of one object, whose images stay: asked for several times, and big data sets take seconds
def data_key(task: TaskConfig, data: ImageData) -> dict[str, Any]:
    """What every cached result depends on."""
    return {
        "recipe": 2,
        "model": task.model,
        "data": data.fingerprint(),
        "train": data.training_split(),
        "size": data.image_size,
        "normalisation": [data.mean, data.std],
        "preparation": data.preparation,
    }

"""Training a pruned network on, from the weights that pruning and reconstruction left it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.progress import Progress
from prunebench.envs.weights.training import run_steps, steps_per_epoch

MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4


def default_epochs(data: ImageData) -> float:
    """A quarter of the dense network's."""
    return data.epochs / 4


def finetune(
    model: nn.Module,
    data: ImageData,
    seed: int,
    epochs: float,
    learning_rate: float,
    unfinished: Path,
    progress: Progress,
    layout: torch.memory_format = torch.channels_last,
) -> None:
    """Train a pruned network in place: SGD with Nesterov momentum, a cosine schedule to zero.

    Interrupted training goes on where it last saved, with the same result as undisturbed training.

    Args:
        model: the network, from :meth:`prunebench.envs.evaluation.evaluator.Evaluator.unfolded`.
        data: the data set that the dense network was trained on.
        seed: fixes the order of images, their augmentation and dropout.
        epochs: passes over the training split; a fraction is part of one.
        learning_rate: that of the first step.
        unfinished: file for the state of unfinished training; the caller removes it once the network is safe.
        progress: see :mod:`prunebench.envs.progress`.
        layout: the memory format that the network is run in.

    Raises:
        TaskError: the data set has no training images, or too few; or it came to numbers that are none.
    """
    model.to(memory_format=layout)
    steps = max(1, round(epochs * steps_per_epoch(data.train())))
    optimizer = torch.optim.SGD(
        model.parameters(), learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    run_steps(parts, data, steps, seed, unfinished, partial(progress, "fine-tuning"), layout)

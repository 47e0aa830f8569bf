"""The recipe of ``prunebench train``: a dense network from random weights, by SGD and one cycle of the learning rate.

The embedded default is trained in another way (:func:`prunebench.envs.weights.training.train`), which stays as it is.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunebench.envs import cache
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.files import description_of
from prunebench.envs.progress import Progress
from prunebench.envs.weights.training import run_steps

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.1  # of all steps, in which the learning rate rises to its peak
_PEAK, _AT = 0.1, 128  # the learning rate at the peak, for a step of so many images


def learning_rate(batch: int) -> float:
    """The one at the peak, unless another is named: in proportion to the images of a step."""
    return _PEAK * batch / _AT


@dataclass(frozen=True)
class Recipe:
    """What is left open.

    Attributes:
        epochs: passes over the training split; a fraction is part of one.
        learning_rate: that of the peak.
        batch: images of a step.
        seed: fixes the order of images, their augmentation and dropout.
    """

    epochs: float
    learning_rate: float
    batch: int
    seed: int

    def steps(self, data: ImageData) -> int:
        """Steps in all; an epoch has as many as there are whole batches.

        Raises:
            TaskError: there are fewer training images than a step takes.
        """
        count = data.sizes()["train"]
        if not math.isfinite(self.epochs * count):
            raise TaskError(f"epochs {self.epochs:g}: expected fewer")
        if self.batch > count:
            raise TaskError(f"batch {self.batch}: expected at most {count}, the number of training images")
        return max(1, round(self.epochs * (count // self.batch)))


def train(
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    settings: dict[str, Any],
    unfinished: Path,
    progress: Progress,
    layout: torch.memory_format = torch.channels_last,
) -> float:
    """Train a network in place, on its device: SGD with Nesterov momentum, warm-up and a cosine to zero.

    Interrupted training goes on where it last saved, with the same result as undisturbed training.

    Args:
        model: with random weights.
        data: the data set.
        recipe: what the recipe leaves open.
        settings: plain values that are kept with the state of unfinished training, see :func:`settings_of`.
        unfinished: file for that state; the caller removes it once the network is safe.
        progress: see :mod:`prunebench.envs.progress`.
        layout: the memory format that the network is run in.

    Returns:
        The seconds that it took, without those between an interruption and the call that went on.

    Raises:
        TaskError: the data set has too few training images.
        DivergedError: the learning rate is too large.
    """
    model.to(memory_format=layout)
    steps = recipe.steps(data)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_share, steps))
    about = _About(settings)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "about": about}
    told = partial(progress, "training the dense network")
    run_steps(parts, data, steps, recipe.seed, unfinished, told, layout, recipe.batch)
    return about.seconds


def _share(steps: int, step: int) -> float:
    """The learning rate of a step, as a part of the peak's."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 + 0.5 * math.cos(math.pi * (step - rising + 1) / (steps - rising + 1))


class _About:
    """What is kept of unfinished training beside its state: the settings, and the seconds until then."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings, self._before, self._started = settings, 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {"settings": self._settings, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["seconds"]


def settings_of(unfinished: Path) -> dict[str, Any] | None:
    """The settings of unfinished training; None where there is none.

    Raises:
        TaskError: the file is damaged.
    """
    return dict(cache.load(unfinished)["about"]["settings"]) if unfinished.exists() else None


def trained_on(data: ImageData) -> dict[str, Any]:
    """What tells the training images from others, as plain values: the data, and what is set aside of them."""
    return {"data": data.fingerprint(), "split": data.training_split()}


def unseen(weights: Path, data: ImageData) -> bool:
    """Whether this recipe trained a checkpoint on the training split of these data, and so on no other split.

    The file beside the checkpoint says so, and is believed where it holds the hash of this checkpoint.
    """
    try:
        said = json.loads(description_of(weights).read_text(encoding="utf-8"))
        trained, sha256 = said["settings"]["trained_on"], said["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(trained == trained_on(data)) and bool(sha256 == cache.sha256(weights))

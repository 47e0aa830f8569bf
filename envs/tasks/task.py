"""A task: network, weights, data, splits, and how policies are scored. Checking one is cheap and imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.envs.choices import CRITERIA, DEVICES, RECONSTRUCTIONS, SCOPES
from prunebench.envs.data import datasets
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks import models, pretrained

if TYPE_CHECKING:
    from prunebench.envs.data.imagedata import ImageData

_CHOICES: dict[str, Iterable[str]] = {
    "dataset": datasets.DATASETS,
    "scope": SCOPES,
    "importance": CRITERIA,
    "reconstruction": RECONSTRUCTIONS,
    "device": DEVICES,
}


@dataclass(frozen=True)
class TaskConfig:
    """Everything that decides what a policy scores.

    Attributes:
        model: name in :data:`prunebench.envs.networks.models.MODELS`, ``torchvision:<name>`` or
            ``package.module:function``.
        weights: checkpoint of the dense network; None takes torchvision's for its networks and trains others on
            first use.
        dataset: name in :data:`prunebench.envs.data.datasets.DATASETS`.
        data: folder of ``imagefolder`` and ``imagenet``; of CIFAR, where None is one in the cache directory.
        image_size: pixels per side; None takes the data set's own (``imagefolder``: the images as they are).
        mean: means of the three colours; None takes the data set's own (``imagefolder``: ImageNet's).
        std: standard deviations of the three colours; None takes the data set's own.
        classes: class folders in the network's output order; None is alphabetical.
        split_seed: fixes calibration, reward and test split.
        reward_images: size of the reward split; None is the data set's own.
        calibration_images: images for least squares (AMC: 60 batches of 50).
        batch_size: images per forward pass; it changes the last bits of an accuracy.
        scope: name in :data:`prunebench.envs.choices.SCOPES`: which channels may be pruned.
        importance: name in :data:`prunebench.envs.choices.CRITERIA`: which of them are kept first.
        reconstruction: name in :data:`prunebench.envs.choices.RECONSTRUCTIONS`: what is done to a pruned network
            before scoring.
        device: ``cpu`` or ``cuda``.
        tf32: whether a GPU may round products to TensorFloat-32.
    """

    model: str = "mobilenetv2"
    weights: str | None = None
    dataset: str = "digits"
    data: str | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    split_seed: int = 0
    reward_images: int | None = None
    calibration_images: int = 3000
    batch_size: int = 250
    scope: str = "inner"
    importance: str = "consumer-l1"
    reconstruction: str = "least-squares"
    device: str = "cpu"
    tf32: bool = False


def load_data(task: TaskConfig) -> ImageData:
    """The task's data set with its splits; nothing is read before it is asked for."""
    from prunebench.envs.data.imagedata import DataSettings

    settings = DataSettings(
        folder=None if task.data is None else Path(task.data),
        image_size=task.image_size,
        mean=task.mean,
        std=task.std,
        classes=task.classes,
        split_seed=task.split_seed,
        reward_images=task.reward_images,
        calibration_images=task.calibration_images,
        preprocessing=pretrained.preprocessing(task.model),
    )
    return datasets.load(task.dataset, settings)


def check_task(task: TaskConfig) -> None:
    """Raise TaskError for whatever can be seen to be wrong without reading weights or images."""
    models.check_name(task.model)
    for name, choices in _CHOICES.items():
        check_choice(name, getattr(task, name), choices)
    for name in ("reward_images", "calibration_images", "batch_size", "image_size"):
        value = getattr(task, name)
        if value is not None and value < 1:
            raise TaskError(f"{name.replace('_', '-')} {value}: expected a positive number")
    if not 0 <= task.split_seed < 2**32:
        raise TaskError(f"split-seed {task.split_seed}: expected a number from 0 to 4294967295")
    if task.weights is not None and not Path(task.weights).is_file():
        raise TaskError(f"weights {task.weights!r}: no such file")
    if task.weights is None and models.needs_weights(task.model):
        raise TaskError(f"model {task.model!r} needs --weights, a checkpoint of the dense network")
    if task.tf32 and task.device != "cuda":
        raise TaskError(f"tf32 is a GPU's rounding: leave it out, or name --device cuda, not {task.device!r}")
    _refuse_fixed_options(task)
    _check_folder(task)
    _check_normalisation(task)


def _check_folder(task: TaskConfig) -> None:
    splits, expected = datasets.DATASETS[task.dataset].folders, datasets.DATASETS[task.dataset].expected
    if task.data is None:
        if splits:
            raise TaskError(f"dataset {task.dataset!r} needs --data, a folder with {expected}")
        return
    if Path(task.data).exists() and not Path(task.data).is_dir():
        raise TaskError(f"data {task.data!r}: expected a folder")
    for folder in (Path(task.data), *(Path(task.data) / split for split in splits)):
        if splits and not folder.is_dir():
            raise TaskError(f"data {str(folder)!r}: no such folder; expected {expected} in --data")


def _check_normalisation(task: TaskConfig) -> None:
    for name, values in (("mean", task.mean), ("std", task.std)):
        if values is not None and (len(values) != 3 or not all(math.isfinite(v) for v in values)):
            raise TaskError(f"{name} {','.join(map(str, values))}: expected three numbers")
    if task.std is not None and min(task.std) <= 0:
        raise TaskError(f"std {','.join(map(str, task.std))}: expected positive numbers")


def _refuse_fixed_options(task: TaskConfig) -> None:
    for name in ("data", "image_size", "mean", "std", "classes"):
        if getattr(task, name) is not None and name not in datasets.DATASETS[task.dataset].options:
            raise TaskError(f"dataset {task.dataset!r} fixes {name.replace('_', '-')}: leave the option out")

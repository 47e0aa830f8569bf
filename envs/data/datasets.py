"""The table of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.envs import cache
from prunebench.envs.networks import pretrained

if TYPE_CHECKING:
    from prunebench.envs.data.imagedata import ImageData
    from prunebench.envs.data.preprocessing import Preprocessing
    from prunebench.envs.tasks.task import TaskConfig

_IMAGENET_SIZE = 224  # pixels per side, where neither the user nor the network's published weights say otherwise


def _digits(task: TaskConfig) -> ImageData:
    from prunebench.envs.data.digits import Digits

    return Digits(task.split_seed, task.reward_images)


def _cifar10(task: TaskConfig) -> ImageData:
    from prunebench.envs.data.cifar import Cifar10

    return Cifar10(_download_folder(task), task.mean, task.std, task.split_seed, task.reward_images)


def _cifar100(task: TaskConfig) -> ImageData:
    from prunebench.envs.data.cifar import Cifar100

    return Cifar100(_download_folder(task), task.mean, task.std, task.split_seed, task.reward_images)


def _imagenet(task: TaskConfig) -> ImageData:
    from prunebench.envs.data.imagenet import ImageNetData

    assert task.data is not None
    return ImageNetData(
        Path(task.data), _preprocessing(task), task.split_seed, task.reward_images, task.calibration_images
    )


def _preprocessing(task: TaskConfig) -> Preprocessing:
    """That of the network's published weights, where it has some and the user names no size."""
    from prunebench.envs.data.preprocessing import Preprocessing

    published = pretrained.preprocessing(task.model) if task.image_size is None else None
    return published or Preprocessing.usual(task.image_size or _IMAGENET_SIZE)


def _imagefolder(task: TaskConfig) -> ImageData:
    from prunebench.envs.data.imagefolder import ImageFolderData

    assert task.data is not None
    return ImageFolderData(
        Path(task.data), task.image_size, task.mean, task.std, task.classes, task.split_seed, task.reward_images
    )


def _download_folder(task: TaskConfig) -> Path:
    return cache.directory() / "data" if task.data is None else Path(task.data)


DATASETS = {
    "digits": _digits,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "imagenet": _imagenet,
    "imagefolder": _imagefolder,
}

FREE_OPTIONS = {
    "digits": (),
    "cifar10": ("data", "mean", "std"),
    "cifar100": ("data", "mean", "std"),
    "imagenet": ("data", "image_size"),
    "imagefolder": ("data", "image_size", "mean", "std", "classes"),
}
"""The options of a task that a data set leaves to the user."""

FOLDERS = {"imagenet": ("train", "val"), "imagefolder": ("train", "test")}
"""What ``data`` must hold, where it must be given: folders of class folders."""


def names() -> list[str]:
    """Names of the data sets."""
    return sorted(DATASETS)


def load(task: TaskConfig) -> ImageData:
    """The task's data set with its splits; nothing is read before it is asked for."""
    return DATASETS[task.dataset](task)

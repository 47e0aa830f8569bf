"""The table of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs.imagedata import ImageData
    from envs.task import TaskConfig


def _digits(task: TaskConfig) -> ImageData:
    from envs.digits import Digits

    return Digits(task.split_seed, task.reward_images)


def _imagefolder(task: TaskConfig) -> ImageData:
    from envs.imagefolder import ImageFolderData

    assert task.data is not None
    return ImageFolderData(
        Path(task.data), task.image_size, task.mean, task.std, task.classes, task.split_seed, task.reward_images
    )


DATASETS = {"digits": _digits, "imagefolder": _imagefolder}


def names() -> list[str]:
    """Names of the data sets."""
    return sorted(DATASETS)


def load(task: TaskConfig) -> ImageData:
    """The task's data set with its splits; nothing is read before it is asked for."""
    return DATASETS[task.dataset](task)

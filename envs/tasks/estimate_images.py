"""How many images the splits of a task have and how long they take, about: nothing is downloaded or decoded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from prunebench.envs.data import datasets
from prunebench.envs.data.digits import REWARD_SOURCES, REWARD_VIEWS, TEST_SOURCES, TEST_VIEWS, TRAIN_VIEWS, draw_views
from prunebench.envs.tasks.task import TaskConfig

_DECODING = 0.005  # seconds per image file and core, where the cache does not have the pixels yet
_DIGIT_SOURCES = 1797
_CIFAR_IMAGES = {"train": 50_000, "test": 10_000}


def split_sizes(task: TaskConfig) -> dict[str, int]:
    """Images of ``train``, ``reward``, ``test`` and ``calibration``; those in folders are counted."""
    if task.dataset == "digits":
        train = (_DIGIT_SOURCES - TEST_SOURCES - REWARD_SOURCES) * TRAIN_VIEWS
        reward, test = task.reward_images or REWARD_SOURCES * REWARD_VIEWS, TEST_SOURCES * TEST_VIEWS
    elif task.dataset in datasets.FOLDERS:
        train, reward, test = _folder_sizes(task)
    else:
        reward, test = task.reward_images or 5000, _CIFAR_IMAGES["test"]
        train = _CIFAR_IMAGES["train"] - reward
    return {"train": train, "reward": reward, "test": test, "calibration": min(task.calibration_images, train)}


def reading_seconds(task: TaskConfig, images: dict[str, int], fresh: bool, threads: int) -> float:
    """Seconds until the images of a preparation are there.

    Args:
        task: whose they are.
        images: of the splits.
        fresh: whether something must be trained or calibrated.
        threads: that may be used.
    """
    if task.dataset == "digits":  # drawn anew by every process, the reward split for the fingerprint as well
        return _drawing() * (fresh * images["train"] + 3 * images["reward"] + 2 * images["test"])
    if task.dataset in datasets.FOLDERS and fresh:
        needed = images["reward"] + images["test"] + images["calibration" if task.weights else "train"]
        return needed * _DECODING / threads
    return 0.0


def _drawing() -> float:
    """Seconds to draw a view of a digit."""
    sources, views = np.random.default_rng(0).random((10, 8, 8)), 20
    started = time.perf_counter()
    draw_views(sources, views, np.random.default_rng(0))
    return (time.perf_counter() - started) / (len(sources) * views)


def _folder_sizes(task: TaskConfig) -> tuple[int, int, int]:
    counts = {split: _files(Path(task.data or "") / split) for split in ("train", "val", "test")}
    if task.dataset == "imagenet":
        reward = task.reward_images or min(3000, counts["train"] // 10)
        return counts["train"] - reward, reward, counts["val"]
    if counts["val"]:
        return counts["train"], task.reward_images or counts["val"], counts["test"]
    reward = task.reward_images or min(5000, counts["train"] // 10)
    return counts["train"] - reward, reward, counts["test"]


def _files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))

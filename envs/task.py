"""A task: network, weights, data and splits; from its configuration to an evaluator.

``check_task`` is cheap and imports no torch; ``prepare`` does once what takes long (training, calibration) and leaves
it in the user's cache; ``load_evaluator`` takes it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs import cache, datasets, models
from envs.budget import Budget
from envs.errors import TaskError, check_choice

if TYPE_CHECKING:
    from torch import Tensor

    from envs.evaluator import Evaluator
    from envs.imagedata import ImageData
    from envs.network import PrunableNetwork

Progress = Callable[[str, int, int], None]

_CALIBRATION_BATCH = 50  # images, as in AMC


@dataclass(frozen=True)
class TaskConfig:
    """Everything that decides what a policy scores.

    Attributes:
        model: name in :data:`envs.models.MODELS`.
        weights: checkpoint of the dense network; None trains one on first use.
        dataset: ``digits`` or ``imagefolder``.
        data: folder of ``imagefolder``.
        image_size: pixels per side; None takes the images as they are.
        mean: of normalisation, three numbers; None takes ImageNet's.
        std: likewise.
        classes: class folders in the network's output order; None is alphabetical.
        split_seed: fixes calibration, reward and test split.
        reward_images: size of the reward split; None is the data set's own.
        calibration_images: images for least squares (AMC: 60 batches of 50).
        batch_size: images per forward pass; it changes the last bits of an accuracy.
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


def check_task(task: TaskConfig) -> None:
    """Raise TaskError for whatever can be seen to be wrong without reading weights or images."""
    check_choice("model", task.model, models.MODELS)
    check_choice("dataset", task.dataset, datasets.DATASETS)
    for name in ("reward_images", "calibration_images", "batch_size", "image_size"):
        value = getattr(task, name)
        if value is not None and value < 1:
            raise TaskError(f"{name.replace('_', '-')} {value}: expected a positive number")
    if not 0 <= task.split_seed < 2**32:
        raise TaskError(f"split-seed {task.split_seed}: expected a number from 0 to 4294967295")
    if task.weights is not None and not Path(task.weights).is_file():
        raise TaskError(f"weights {task.weights!r}: no such file")
    if task.dataset == "imagefolder":
        _check_folder(task)
    else:
        _refuse_fixed_options(task)


def _check_folder(task: TaskConfig) -> None:
    if task.data is None:
        raise TaskError(
            "dataset 'imagefolder' needs --data, a folder with train/ and test/ (and val/ where you have one)"
        )
    for folder in (Path(task.data), *(Path(task.data) / split for split in ("train", "test"))):
        if not folder.is_dir():
            raise TaskError(
                f"data {str(folder)!r}: no such folder; expected train/<class>/ and test/<class>/ in --data"
            )
    for name, values in (("mean", task.mean), ("std", task.std)):
        if values is not None and (len(values) != 3 or not all(math.isfinite(v) for v in values)):
            raise TaskError(f"{name} {','.join(map(str, values))}: expected three numbers")
    if task.std is not None and min(task.std) <= 0:
        raise TaskError(f"std {','.join(map(str, task.std))}: expected positive numbers")


def _refuse_fixed_options(task: TaskConfig) -> None:
    for name in ("data", "image_size", "mean", "std", "classes"):
        if getattr(task, name) is not None:
            raise TaskError(f"dataset {task.dataset!r} fixes {name.replace('_', '-')}: leave the option out")


def ensure_prepared(task: TaskConfig, progress: Progress = lambda *_: None) -> None:
    """Train the dense network and collect calibration statistics unless the cache has them.

    Raises:
        TaskError: weights or data cannot be used.
    """
    check_task(task)
    data = datasets.load(task)
    if not _weights_path(task, data).exists():
        _train(task, data, progress)
    if not _grams_path(task, data).exists():
        _calibrate(task, data, progress)


def check_budget(task: TaskConfig, preserve: float, lower_bound: float) -> None:
    """Find out without weights, so before any training, whether a budget can be met.

    Args:
        task: whose network it is.
        preserve: the budget, as a fraction of the dense network's MACs.
        lower_bound: the smallest preserve ratio of a layer.

    Raises:
        BudgetError: it cannot.
        TaskError: the network or the data cannot be used.
    """
    import torch

    from envs.network import PrunableNetwork

    check_task(task)
    data = datasets.load(task)
    model = models.build(task.model, len(data.classes))
    network = PrunableNetwork(model, torch.zeros(1, 3, data.image_size, data.image_size))
    macs = network.costs()["macs"]
    Budget(macs, np.array(network.channels), lower_bound, preserve * macs(network.channels))


def prepare(task: TaskConfig, progress: Progress) -> dict[str, Any]:
    """Train the dense network on first use, collect calibration statistics, and score the dense network.

    Returns:
        Plain facts for the manifest and the table: ``dense`` (reward_accuracy, test_accuracy, macs, parameters),
        ``layers``, ``channels``, ``splits`` (images per split), ``image_size``, ``weights_sha256``, ``data_sha256``.

    Raises:
        TaskError: weights or data cannot be used.
    """
    ensure_prepared(task, progress)
    data = datasets.load(task)
    evaluator = load_evaluator(task)
    scores = []
    for number, score in enumerate((evaluator.score, evaluator.test)):
        progress("scoring the dense network", number, 2)
        scores.append(score(evaluator.dense))
    progress("scoring the dense network", 2, 2)
    return {
        "dense": {
            "reward_accuracy": scores[0].accuracy,
            "test_accuracy": scores[1].accuracy,
            "macs": int(evaluator.costs["macs"](evaluator.dense)),
            "parameters": int(evaluator.costs["parameters"](evaluator.dense)),
        },
        "layers": len(evaluator.dense),
        "channels": list(evaluator.dense),
        "splits": evaluator.images | {"calibration": cache.load(_grams_path(task, data))["images"]},
        "image_size": data.image_size,
        "weights_sha256": cache.sha256(_weights_path(task, data)),
        "data_sha256": data.sha256(),
    }


@lru_cache(maxsize=1)
def load_evaluator(task: TaskConfig) -> Evaluator:
    """The evaluator of a prepared task; once per process.

    Raises:
        TaskError: weights or data cannot be used.
        FileNotFoundError: the task has not been prepared.
    """
    from envs.evaluator import Evaluator

    data = datasets.load(task)
    network = _network(task, data)
    grams = cache.load(_grams_path(task, data))["grams"]
    return Evaluator(network, grams, data.tensors(data.reward()), lambda: data.tensors(data.test()), task.batch_size)


def _network(task: TaskConfig, data: ImageData) -> PrunableNetwork:
    import torch

    from envs.network import PrunableNetwork

    model = models.build(task.model, len(data.classes))
    models.load_weights(model, _weights_path(task, data))
    return PrunableNetwork(model, torch.zeros(1, 3, data.image_size, data.image_size))


def _weights_path(task: TaskConfig, data: ImageData) -> Path:
    """The checkpoint of the dense network: the user's, or where ours is kept once it is trained."""
    if task.weights is not None:
        return Path(task.weights)
    return cache.path(
        f"dense-{task.model}",
        _data_key(task, data)
        | {
            "epochs": data.epochs,
            "classes": data.classes,
            "seed": task.split_seed,
        },
    )


def _data_key(task: TaskConfig, data: ImageData) -> dict[str, Any]:
    """What every cached result depends on."""
    return {
        "recipe": 2,
        "model": task.model,
        "data": data.fingerprint(),
        "train": data.training_split(),
        "size": data.image_size,
        "normalisation": [data.mean, data.std],
    }


def _train(task: TaskConfig, data: ImageData, progress: Progress) -> None:
    import torch

    from envs.training import train

    target = _weights_path(task, data)
    torch.manual_seed(task.split_seed)
    model = models.build(task.model, len(data.classes))
    unfinished = target.with_suffix(".partial")
    train(model, data, task.split_seed, unfinished, progress)
    cache.save(model.state_dict(), target)
    unfinished.unlink(missing_ok=True)


def _grams_path(task: TaskConfig, data: ImageData) -> Path:
    weights = cache.sha256(_weights_path(task, data))
    key = _data_key(task, data) | {
        "weights": weights,
        "images": task.calibration_images,
        "split_seed": task.split_seed,
    }
    return cache.path(f"calibration-{task.model}", key)


def _calibrate(task: TaskConfig, data: ImageData, progress: Progress) -> None:
    import torch

    from envs.reconstruction import gram_matrices

    network = _network(task, data)
    pixels, _ = data.tensors(data.calibration(task.calibration_images))
    batches = torch.split(pixels, _CALIBRATION_BATCH)

    def counted() -> Iterator[Tensor]:
        for number, batch in enumerate(batches):
            progress("calibrating the reconstruction", number, len(batches))
            yield batch
        progress("calibrating the reconstruction", len(batches), len(batches))

    grams = gram_matrices(network, counted(), task.split_seed)
    cache.save({"grams": grams, "images": len(pixels)}, _grams_path(task, data))

"""From a task's configuration to an evaluator.

:func:`prepare` does once what takes long (training, calibration) and leaves it in the user's cache;
:func:`load_evaluator` takes it from there.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunebench.envs import cache, device
from prunebench.envs.choices import RECONSTRUCTIONS
from prunebench.envs.data.batches import Batches
from prunebench.envs.data.imagedata import ImageData, Images
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.calibration import Calibration, calibrate
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.reconstruction import not_refitted
from prunebench.envs.evaluation.scored import check_scored
from prunebench.envs.networks import models
from prunebench.envs.networks.baked import baked, materialised
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.verification import enliven, verify
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data
from prunebench.envs.weights.checkpoint import load_weights
from prunebench.envs.weights.training import train

CALIBRATION_BATCH = 50  # images, as in AMC
RECALIBRATION_IMAGES = 500  # whose statistics batch norm takes over where that is asked for


def ensure_prepared(task: TaskConfig, progress: Progress = silent) -> None:
    """Train the dense network and calibrate unless the cache has both.

    Raises:
        TaskError: weights or data cannot be used.
    """
    check_task(task)
    data = load_data(task)
    data.progress = progress
    if not _weights_path(task, data).exists():
        _train(task, data, progress)
    if not calibration_path(task, data).exists():
        _calibrate(task, data, progress)


def random_network(task: TaskConfig) -> PrunableNetwork:
    """The task's network with random weights, verified: without reading any, so before any training.

    Raises:
        TaskError: the network or the data cannot be used.
    """
    check_task(task)
    where = device.use(task.device, task.tf32)
    data = load_data(task)
    network = _prunable(task, data, fresh_model(task, data), where)
    enliven(network.model, network.example)
    verify(network, each=False)  # that is done with the weights that count
    return network


def fresh_model(task: TaskConfig, data: ImageData) -> torch.nn.Module:
    """The task's network as it is built, on the processor."""
    model = models.build(task.model, len(data.classes))
    return materialised(model, torch.zeros(1, 3, data.image_size, data.image_size))


def cached(task: TaskConfig) -> tuple[bool, bool]:
    """Whether there are a dense network and, in the cache, its calibration.

    Nothing is downloaded or written for the answer: where that would be needed, there is no calibration yet.
    """
    data = load_data(task)
    published = task.weights is None and models.kind(task.model) == "torchvision"
    if published or not data.known():
        return published or task.weights is not None, False
    trained = _weights_path(task, data).exists()
    return trained, trained and calibration_path(task, data).exists()


def prepare(task: TaskConfig, progress: Progress) -> dict[str, Any]:
    """Do what :func:`ensure_prepared` does, and score the dense network.

    Returns:
        Plain facts for the manifest and the table: ``dense`` (reward_accuracy, test_accuracy, macs, parameters),
        ``layers``, ``left_out`` (why, by layer), ``not_refitted`` (names of layers), ``channels``, ``splits`` (images
        per split), ``chance`` (share of the reward split's most frequent class), ``reward_maybe_seen`` (whether the
        weights may have been trained on the reward split), ``image_size``, ``weights_sha256``, ``network_version``
        (None where it is this package's or torchvision's), ``data_sha256``.

    Raises:
        TaskError: weights or data cannot be used.
    """
    ensure_prepared(task, progress)
    data = load_data(task)
    data.progress = progress
    data_sha256 = data.sha256()  # before the images are used: files are decoded now, with progress to be seen
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
        "left_out": evaluator.network.left_out,
        "not_refitted": not_refitted(evaluator.network) if RECONSTRUCTIONS[task.reconstruction].refits else [],
        "channels": list(evaluator.dense),
        "splits": evaluator.images | {"calibration": cache.load(calibration_path(task, data))["images"]},
        "chance": data.chance(),
        "reward_maybe_seen": data.reward_from_training and not _trained_here(task),
        "image_size": data.image_size,
        "weights_sha256": cache.sha256(_weights_path(task, data)),
        "network_version": models.version(task.model),
        "data_sha256": data_sha256,
    }


@lru_cache(maxsize=1)
def load_evaluator(task: TaskConfig) -> Evaluator:
    """The evaluator of a prepared task; once per process.

    Raises:
        TaskError: weights or data cannot be used.
        FileNotFoundError: the task has not been prepared.
    """
    data = load_data(task)
    return _evaluator(task, data, _dense_network(task, data), cache.load(calibration_path(task, data)))


def _evaluator(task: TaskConfig, data: ImageData, network: PrunableNetwork, content: dict[str, Any]) -> Evaluator:
    """The evaluator of a network from what calibration left."""
    where = network.example.device

    def batches(images: Images, resident: bool = False) -> Batches:
        return Batches.of(images, data, task.batch_size, where, network.layout, resident=resident)

    parts = content["recalibration"]
    recalibration = None
    if parts:  # in batches of one size always: the statistics depend on it
        chosen = Images(**{name: part.numpy() for name, part in parts.items()})
        recalibration = Batches.of(chosen, data, CALIBRATION_BATCH, where, network.layout, resident=True)
    return Evaluator(
        network,
        Calibration.from_content(content),
        batches(data.reward(), True),
        lambda: batches(data.test()),
        recalibration,
    )


def _dense_network(task: TaskConfig, data: ImageData) -> PrunableNetwork:
    where = device.use(task.device, task.tf32)
    model = fresh_model(task, data)
    load_weights(model, _weights_path(task, data))
    return _prunable(task, data, model, where)


def _prunable(task: TaskConfig, data: ImageData, model: torch.nn.Module, where: torch.device) -> PrunableNetwork:
    example = torch.zeros(1, 3, data.image_size, data.image_size, device=where)
    network = PrunableNetwork(baked(model).to(where), example, task.scope, task.exclude or ())
    with torch.no_grad():
        classes = model(example).shape[1]
    if classes != len(data.classes):
        raise TaskError(f"model {task.model!r} tells {classes} classes apart, the data have {len(data.classes)}")
    return network


def _trained_here(task: TaskConfig) -> bool:
    return task.weights is None and models.kind(task.model) == "table"


def _weights_path(task: TaskConfig, data: ImageData) -> Path:
    """The checkpoint of the dense network: the user's, torchvision's, or where ours is kept once it is trained."""
    if task.weights is not None:
        return Path(task.weights)
    if models.kind(task.model) == "torchvision":
        from prunebench.envs.networks import pretrained

        return pretrained.fetch(task.model)
    key = {"epochs": data.epochs, "classes": data.classes, "seed": task.split_seed}
    return cache.path(f"dense-{task.model}", _data_key(task, data) | key)


@lru_cache(maxsize=1)  # asked for several times; the fingerprint of a big data set takes seconds
def _data_key(task: TaskConfig, data: ImageData) -> dict[str, Any]:
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


def _train(task: TaskConfig, data: ImageData, progress: Progress) -> None:
    target = _weights_path(task, data)
    for read in (data.reward, data.test):  # an image that cannot be read is found now, not after the training
        read()
    torch.manual_seed(task.split_seed)
    model = models.build(task.model, len(data.classes))
    cache.check_writable(4 * _bytes(model))  # the network, twice, and what the optimizer keeps of it
    unfinished = target.with_suffix(".partial")
    train(model, data, task.split_seed, unfinished, progress)
    cache.save(model.state_dict(), target)
    unfinished.unlink(missing_ok=True)


def _bytes(model: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def calibration_path(task: TaskConfig, data: ImageData) -> Path:
    """Where the calibration of a task is kept: the name changes with whatever decides a policy's score."""
    key = _data_key(task, data) | {
        "weights": cache.sha256(_weights_path(task, data)),
        "images": task.calibration_images,
        "split_seed": task.split_seed,
        "scope": task.scope,
        "exclude": task.exclude,
        "method": 2,  # of criteria and least squares
        "importance": task.importance,
        "reconstruction": task.reconstruction,
        "network": models.version(task.model),
        "device": [task.device, task.tf32],
    }
    return cache.path(f"calibration-{models.slug(task.model)}", key)


def _calibrate(task: TaskConfig, data: ImageData, progress: Progress) -> None:
    cache.check_writable()
    network = _dense_network(task, data)
    verify(network)  # again, with the weights that count
    images, way = data.calibration(task.calibration_images), RECONSTRUCTIONS[task.reconstruction]
    calibration = calibrate(
        network,
        Batches.of(images, data, CALIBRATION_BATCH, network.example.device, network.layout),
        importance=task.importance,
        least_squares=way.refits,
        seed=task.split_seed,
        progress=progress,
    )
    recalibration = _recalibration_images(images) if way.recomputes else None
    content = calibration.content() | {
        "images": len(images.labels),
        "recalibration": recalibration and {name: torch.from_numpy(part) for name, part in vars(recalibration).items()},
    }
    evaluator = _evaluator(task, data, network, content)
    check_scored(evaluator, next(iter(evaluator.reward.resized(CALIBRATION_BATCH)))[0])
    cache.save(content, calibration_path(task, data))


def _recalibration_images(images: Images) -> Images:
    """Some of the calibration images, evenly spaced: they are in the order of their classes or of their files.

    Raises:
        TaskError: there is but one, which has no variance; nor may one be left over for a batch of its own.
    """
    count = min(RECALIBRATION_IMAGES, len(images.labels))
    count -= count % CALIBRATION_BATCH == 1
    if not count:
        raise TaskError("calibration-images 1: batch norm takes its statistics from 2 or more")
    return images.take(np.linspace(0, len(images.labels) - 1, count).astype(np.int64))

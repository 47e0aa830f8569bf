"""From a task's configuration to an evaluator.

:func:`prepare` does once what takes long (training, calibration) and leaves it in the user's cache;
:func:`load_evaluator` takes it from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunebench.envs import cache, cache_files, device
from prunebench.envs.choices import RECONSTRUCTIONS
from prunebench.envs.data.batches import Batches
from prunebench.envs.data.imagedata import ImageData, Images
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.calibration import Calibration, calibrate
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.reconstruction import not_refitted
from prunebench.envs.evaluation.scored import check_scored, fuse_if_same
from prunebench.envs.networks import models
from prunebench.envs.networks.baked import baked, example_image
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.verification import enliven, verify
from prunebench.envs.tasks.keys import METHOD, Dense, fresh_model
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data
from prunebench.envs.weights import recipe
from prunebench.envs.weights.training import train

CALIBRATION_BATCH = 50  # images, as in AMC
RECALIBRATION_IMAGES = 500  # whose statistics batch norm takes over where that is asked for


def ensure_prepared(task: TaskConfig, progress: Progress = silent) -> None:
    """Train the dense network and calibrate unless the cache has both.

    Raises:
        TaskError: weights or data cannot be used.
    """
    check_task(task)
    cache_files.limit()  # refused now, and not after the training
    data = load_data(task)
    data.progress = progress
    dense = Dense(task, data)
    if not dense.weights_path.exists():
        _train(dense, progress)
    if not cache_files.ready(dense.calibration_path, dense.about):
        _calibrate(dense, progress)


def prepared_evaluator(task: TaskConfig) -> Evaluator:
    """The evaluator of a task, which is prepared unless it was.

    Raises:
        TaskError: weights or data cannot be used.
    """
    check_task(task)
    try:
        return load_evaluator(task)
    except FileNotFoundError:
        ensure_prepared(task)
        return load_evaluator(task)


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


def cached(task: TaskConfig) -> tuple[bool, bool]:
    """Whether there are a dense network and, in the cache, its calibration.

    Nothing is downloaded or written for the answer: where that would be needed, there is no calibration yet.
    """
    data = load_data(task)
    published = task.weights is None and models.publisher(task.model) is not None
    if published or not data.known():
        return published or task.weights is not None, False
    dense = Dense(task, data)
    trained = dense.weights_path.exists()
    return trained, trained and dense.calibration_path.exists()


def prepare(task: TaskConfig, progress: Progress) -> dict[str, Any]:
    """Do what :func:`ensure_prepared` does, and score the dense network.

    Returns:
        Plain facts for the manifest and the table: ``dense`` (reward_accuracy, reward_loss, test_accuracy, test_loss,
        test_hits as in :class:`prunebench.envs.environment.channel_pruning.FinalScore`, macs, parameters, and where
        there is a confirm split confirm_accuracy, confirm_loss),
        ``method`` (see :data:`prunebench.envs.tasks.keys.METHOD`), ``layers``, ``left_out`` (why, by layer),
        ``not_refitted`` (names of layers), ``fused`` (whether networks are run by fused kernels), ``channels``,
        ``splits`` (images per split), ``chance`` (share of the reward split's most frequent class),
        ``reward_maybe_seen`` (whether the weights may have been trained on the reward
        split), where there is a confirm split ``confirm_maybe_seen``, ``image_size``, ``weights_sha256``,
        ``network_sha256`` (of what a user's own network computes; None for others), ``network_version`` (what older
        versions recorded instead: of its file), ``data_sha256``.

    Raises:
        TaskError: weights or data cannot be used.
    """
    ensure_prepared(task, progress)
    data = load_data(task)
    data.progress = progress
    data_sha256 = data.sha256()  # before the images are used: files are decoded now, with progress to be seen
    dense = Dense(task, data)
    evaluator = _evaluator_of(dense)
    progress("scoring the dense network", 0, 2)
    reward = evaluator.score(evaluator.dense)
    progress("scoring the dense network", 1, 2)
    test = evaluator.test(evaluator.dense)
    confirm = evaluator.confirm(evaluator.dense) if data.confirms else None
    progress("scoring the dense network", 2, 2)
    calibrated, unseen = cache.load(dense.calibration_path), _unseen(dense)
    return {
        "dense": {
            "reward_accuracy": reward.accuracy,
            "reward_loss": reward.loss,
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "test_hits": test.hits,
            "macs": int(evaluator.costs["macs"](evaluator.dense)),
            "parameters": int(evaluator.costs["parameters"](evaluator.dense)),
            **({} if confirm is None else {"confirm_accuracy": confirm.accuracy, "confirm_loss": confirm.loss}),
        },
        "method": METHOD,
        "layers": len(evaluator.dense),
        "left_out": evaluator.network.left_out,
        "not_refitted": not_refitted(evaluator.network) if RECONSTRUCTIONS[task.reconstruction].refits else [],
        "fused": calibrated.get("fused") == torch.__version__,
        "channels": list(evaluator.dense),
        "splits": evaluator.images | {"calibration": calibrated["images"]},
        "chance": data.chance(),
        "reward_maybe_seen": data.reward_from_training and not unseen,
        **({} if confirm is None else {"confirm_maybe_seen": not unseen}),
        "image_size": data.image_size,
        "weights_sha256": cache.sha256(dense.weights_path),
        "network_sha256": dense.sha256 if models.kind(task.model) == "own" else None,
        "network_version": models.version(task.model),
        "data_sha256": data_sha256,
    }


def load_evaluator(task: TaskConfig) -> Evaluator:
    """The evaluator of a prepared task; once per process, for as long as weights, data and network stay as they are.

    Raises:
        TaskError: weights or data cannot be used.
        FileNotFoundError: the task has not been prepared.
    """
    return _evaluator_of(Dense(task, load_data(task)))


def forget_evaluator() -> None:
    """The next evaluator is made anew."""
    _latest.clear()


_latest: dict[tuple[TaskConfig, Path], Evaluator] = {}  # one at most


def _evaluator_of(dense: Dense) -> Evaluator:
    key = (dense.task, dense.calibration_path)
    if key not in _latest:
        if not cache_files.ready(dense.calibration_path, dense.about):
            raise FileNotFoundError(f"{dense.calibration_path}: the task has not been prepared")
        forget_evaluator()  # before there is another: both hold images
        _latest[key] = _evaluator(dense, _dense_network(dense), cache.load(dense.calibration_path))
    return _latest[key]


def _evaluator(dense: Dense, network: PrunableNetwork, content: dict[str, Any]) -> Evaluator:
    """The evaluator of a network from what calibration left."""
    task, data, where = dense.task, dense.data, network.example.device

    def batches(images: Images, resident: bool = False) -> Batches:
        return Batches.of(images, data, task.batch_size, where, network.layout, resident=resident)

    parts = content["recalibration"]
    recalibration = None
    if parts:  # in batches of one size always: the statistics depend on it
        chosen = Images(**{name: part.numpy() for name, part in parts.items()})
        recalibration = Batches.of(chosen, data, CALIBRATION_BATCH, where, network.layout, resident=True)
    evaluator = Evaluator(
        network,
        Calibration.from_content(content),
        batches(data.reward(), True),
        lambda: batches(data.test()),
        recalibration,
        lambda: batches(data.confirm()),
    )
    if content.get("fused") == torch.__version__:  # found out when the task was prepared, for this version
        evaluator.fuse()
    return evaluator


def _dense_network(dense: Dense) -> PrunableNetwork:
    where = device.use(dense.task.device, dense.task.tf32)
    return _prunable(dense.task, dense.data, dense.model, where)


def _prunable(task: TaskConfig, data: ImageData, model: torch.nn.Module, where: torch.device) -> PrunableNetwork:
    example = example_image(data.image_size).to(where)
    network = PrunableNetwork(baked(model).to(where), example, task.scope, task.exclude or ())
    with torch.no_grad():
        classes = model(example).shape[1]
    if classes != len(data.classes):
        raise TaskError(f"model {task.model!r} tells {classes} classes apart, the data have {len(data.classes)}")
    return network


def _train(dense: Dense, progress: Progress) -> None:
    task, data, target = dense.task, dense.data, dense.weights_path
    for read in (data.reward, data.test):  # an image that cannot be read is found now, not after the training
        read()
    torch.manual_seed(task.split_seed)
    model = models.build(task.model, len(data.classes))
    cache.check_writable(4 * _bytes(model))  # the network, twice, and what the optimizer keeps of it
    unfinished = target.with_suffix(".partial")
    train(model, data, task.split_seed, unfinished, progress)
    cache.save(model.state_dict(), target)
    cache_files.use(target, dense.about)
    unfinished.unlink(missing_ok=True)


def _bytes(model: torch.nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def _trained_here(task: TaskConfig) -> bool:
    return task.weights is None and models.kind(task.model) == "table"


def _unseen(dense: Dense) -> bool:
    """Whether the network is known to have been trained on the training split alone."""
    return _trained_here(dense.task) or recipe.unseen(dense.weights_path, dense.data)


def _calibrate(dense: Dense, progress: Progress) -> None:
    cache.check_writable()
    forget_evaluator()  # before there is another
    task, data, network = dense.task, dense.data, _dense_network(dense)
    verify(network, progress=progress)  # again, with the weights that count
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
    evaluator = _evaluator(dense, network, content)
    pictures = next(iter(evaluator.reward.resized(CALIBRATION_BATCH)))[0]
    content["fused"] = str(torch.__version__) if fuse_if_same(evaluator, pictures) else None
    check_scored(evaluator, pictures)
    cache.save(content, dense.calibration_path)
    cache_files.use(dense.calibration_path, dense.about)
    cache_files.make_room()
    _latest[task, dense.calibration_path] = evaluator


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

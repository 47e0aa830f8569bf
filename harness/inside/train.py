"""Trains a dense network from random weights, and scores it."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from prunebench.envs import device
from prunebench.envs.data.batches import Batches
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.environment.channel_pruning import Score
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.evaluator import score_batches
from prunebench.envs.files import description_of, whole
from prunebench.envs.networks.baked import example_image
from prunebench.envs.networks.computed import computed
from prunebench.envs.pruning import forward
from prunebench.envs.seeding import seed_everything
from prunebench.envs.tasks.keys import fresh_model
from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.envs.weights import recipe
from prunebench.envs.weights.recipe import Recipe
from prunebench.envs.weights.training import DivergedError
from prunebench.harness.dense import trained
from prunebench.harness.dense.train_settings import TASK
from prunebench.harness.errors import ConfigError
from prunebench.harness.files import write_json
from prunebench.harness.inside.prepare import Report, set_threads
from prunebench.harness.record import manifest

if TYPE_CHECKING:
    from prunebench.harness.dense.train_settings import TrainSettings


def train_dense(report: Report, task: TaskConfig, settings: TrainSettings, out: Path) -> bool:
    """Train a task's network, score it, and write its checkpoint and what is to be said of it.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        task: network, data and device.
        settings: the training's, with a number of threads.
        out: the checkpoint.

    Returns:
        Whether it was trained now: not where the same call did so before.

    Raises:
        ConfigError, TaskError: it cannot be trained so, or something else is there.
    """
    assert settings.threads is not None
    set_threads(settings.threads)
    data, where = load_data(task), device.use(task.device, task.tf32)
    data.progress = report
    if not data.epochs:
        raise ConfigError(f"dataset {task.dataset!r} is not trained on: expected another one")
    seed_everything(settings.seed)
    model = fresh_model(task, data)
    _check(model, task, data)
    wanted = _resolved(task, settings, data, model)
    if trained.done(out, wanted):
        return False
    trained.meet(out, recipe.settings_of(trained.unfinished(out)), wanted)
    _recipe(wanted).steps(data)  # whatever is wrong with it is said now
    for read in (data.reward, data.test):  # an image that cannot be read is found now, not after the training
        read()
    with trained.at_work(out):
        if trained.done(out, wanted):  # by another process, just now
            return False
        trained.meet(out, recipe.settings_of(trained.unfinished(out)), wanted)
        facts = _trained(report, model, where, task, data, wanted, out)
        _write(model, facts, out)
    return True


def _check(model: nn.Module, task: TaskConfig, data: ImageData) -> None:
    """Raise TaskError unless a network gives logits of the data's classes, in training too."""
    image = example_image(data.image_size)
    images = torch.cat([image, -image])  # batch norm has no variance of one
    state = copy.deepcopy(model.state_dict())  # of which batch norm changes some
    for training in (False, True):
        given = forward.logits_of(model.train(training), images)
        model.load_state_dict(state)
        found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        if found != (2, len(data.classes)):
            when = "in training" if training else "of two images"
            raise TaskError(
                f"model {task.model!r} gives {found} {when}: expected logits (2, {len(data.classes)}), the data have "
                f"{len(data.classes)} classes"
            )


def _resolved(task: TaskConfig, settings: TrainSettings, data: ImageData, model: nn.Module) -> dict[str, Any]:
    """Everything that decides the weights, as JSON has it; where the images are does not."""
    named = {name: getattr(task, name) for name in TASK if name != "data"}
    open_settings = {
        "epochs": float(settings.epochs or data.epochs),
        "learning_rate": settings.learning_rate or recipe.learning_rate(settings.batch),
        "batch": settings.batch,
        "seed": settings.seed,
        "threads": settings.threads,
    }
    known = {"trained_on": recipe.trained_on(data), "network": computed(model, data.image_size)}
    return dict(json.loads(json.dumps(named | open_settings | known)))


def _recipe(settings: dict[str, Any]) -> Recipe:
    return Recipe(**{name: settings[name] for name in ("epochs", "learning_rate", "batch", "seed")})


def _trained(
    report: Report,
    model: nn.Module,
    where: torch.device,
    task: TaskConfig,
    data: ImageData,
    settings: dict[str, Any],
    out: Path,
) -> dict[str, Any]:
    """Train a network on a device; returns what is to be said of it but the hash of its weights."""
    chosen, unfinished = _recipe(settings), trained.unfinished(out)
    try:
        layout = forward.layout(model.to(where).eval(), example_image(data.image_size).to(where))
        seconds = recipe.train(model, data, chosen, settings, unfinished, report, layout)
    except DivergedError:
        unfinished.unlink(missing_ok=True)  # nobody can go on from there
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise TaskError(
            f"batch {chosen.batch}: the GPU has not enough memory beside what else runs there; expected a smaller one"
        ) from error
    scores = _scores(report, model, task, data, layout)
    return {
        "settings": settings,
        "data": task.data,
        "recipe": {
            "optimizer": "SGD with Nesterov momentum",
            "momentum": recipe.MOMENTUM,
            "weight_decay": recipe.WEIGHT_DECAY,
            "schedule": f"linear over {recipe.WARM_UP:.0%} of the steps to learning_rate, then a cosine to zero",
        },
        "steps": chosen.steps(data),
        "seconds": seconds,
        "accuracy": {split: score.accuracy for split, score in scores.items()},
        "loss": {split: score.loss for split, score in scores.items()},
        "splits": data.sizes(),
        "data_sha256": data.sha256(),
        **manifest.origin(),
    }


def _scores(
    report: Report, model: nn.Module, task: TaskConfig, data: ImageData, layout: torch.memory_format
) -> dict[str, Score]:
    where, scores = next(model.parameters()).device, {}
    for number, (split, read) in enumerate({"reward": data.reward, "test": data.test}.items()):
        report("scoring the dense network", number, 2)
        scores[split] = score_batches(model, Batches.of(read(), data, task.batch_size, where, layout))
    report("scoring the dense network", 2, 2)
    return scores


def _write(model: nn.Module, facts: dict[str, Any], out: Path) -> None:
    """The description first, which has the checkpoint's hash: who finds the checkpoint finds both."""
    content = io.BytesIO()
    torch.save(model.cpu().to(memory_format=torch.contiguous_format).state_dict(), content)
    write_json(description_of(out), facts | {"weights_sha256": hashlib.sha256(content.getbuffer()).hexdigest()})
    with whole(out) as file:
        file.write(content.getbuffer())
    trained.unfinished(out).unlink(missing_ok=True)

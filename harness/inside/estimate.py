"""Measures about what experiments take: evaluators are built on noise, with random weights, and timed."""

from __future__ import annotations

import resource
import sys
from collections import defaultdict
from collections.abc import Sequence
from time import perf_counter

import numpy as np
import psutil
import torch

from prunebench.envs.choices import RECONSTRUCTIONS
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.noise import evaluator_on_noise, noise, random_policies, score_seconds
from prunebench.envs.evaluation.timing import BATCH, ROUNDS
from prunebench.envs.tasks import costs
from prunebench.envs.tasks.budgets import Limit
from prunebench.envs.tasks.preparation import CALIBRATION_BATCH, RECALIBRATION_IMAGES, cached, random_network
from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.envs.weights import training
from prunebench.harness.experiments.config import Bounds
from prunebench.harness.inside.prepare import Report, set_threads

_FEW = 4  # batches to calibrate on
_LONGEST = 2.0  # seconds of a forward pass: where it takes longer, fewer images are scored
_memory = psutil.Process().memory_info


def preparing(report: Report, tasks: Sequence[TaskConfig], threads: int) -> list[dict[str, float]]:
    """What the preparation of each task takes, in seconds and bytes; they differ in nothing but the split seed."""
    task, data = tasks[0], load_data(tasks[0])
    images, (evaluator, taken) = data.sizes(), _built(task, threads)
    ready = [(True, True) if task in tasks[:number] else cached(task) for number, task in enumerate(tasks)]
    few, scored = min(task.calibration_images, images["train"]), images["reward"] + images["test"]
    dense = scored * _score_seconds(evaluator, [evaluator.dense] * 2, task)[1]
    batches, drawing = few / CALIBRATION_BATCH - _FEW, data.reading / threads
    calibration = taken["calibrating"] + batches * taken["batch"] + drawing * (few + scored)
    steps = 0 if all(trained for trained, _ in ready) else data.epochs * (images["train"] // training.BATCH)
    train = steps and steps * _step_seconds(evaluator) + drawing * (images["train"] - few)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rest = {"rest": 3 * taken["building"] + dense, "preparing": peak}
    return [{"training": (not a) * train, "calibration": (not b) * calibration} | rest for a, b in ready]


def running(report: Report, task: TaskConfig, budgets: Sequence[Bounds], threads: int) -> list[dict[str, float]]:
    """What the parts of a run take for each budget, in seconds and bytes."""
    evaluator, taken = _built(task, threads)
    images, found = load_data(task).sizes(), []
    for cost, preserve, lower_bound, limit, round_to in budgets:
        limited = costs.named(cost)
        model = limited.closed_form(evaluator.network)
        if limit is not None:  # where it is measured, nothing is known of it yet: half stands for it
            share = Limit(cost, limit).share
            preserve = 0.5 if limited.measured else share(model, evaluator.network.channels, lower_bound, round_to)
        bounds = (preserve, lower_bound, round_to)
        building, each = _score_seconds(evaluator, random_policies(evaluator, 6, model, *bounds), task)
        timing = ROUNDS * (building + 2 * each * min(BATCH, task.batch_size, images["reward"]))
        evaluation, test = (building + each * images[split] for split in ("reward", "test"))
        seconds = {"set_up": taken["building"], "evaluation": evaluation, "test": test, "timing": timing}
        found.append(seconds | {"running": _memory().rss - taken["kept"], "shared": taken["kept"]})
    return found


def _built(task: TaskConfig, threads: int) -> tuple[Evaluator, dict[str, float]]:
    """An evaluator; seconds of its network, its calibration and a batch of the latter; and the bytes that are kept."""
    marks: defaultdict[tuple[str, int], list[float]] = defaultdict(list)  # when each thing went on a step
    set_threads(threads)
    started = perf_counter()
    network = random_network(task)
    built, before = perf_counter(), _memory().rss
    few = noise(network, _FEW * CALIBRATION_BATCH, CALIBRATION_BATCH)
    way = RECONSTRUCTIONS[task.reconstruction]
    norms = noise(network, RECALIBRATION_IMAGES, CALIBRATION_BATCH) if way.recomputes else None
    evaluator = evaluator_on_noise(
        network, few, few, task.importance, way.refits, norms, lambda what, _, n: marks[what, n].append(perf_counter())
    )
    taken = {"building": built - started, "calibrating": perf_counter() - built}
    batch = sum(np.median(np.diff(times)) for (_, steps), times in marks.items() if steps == _FEW)
    return evaluator, taken | {"batch": float(batch), "kept": max(0, _memory().rss - before)}


def _score_seconds(evaluator: Evaluator, policies: Sequence[tuple[int, ...]], task: TaskConfig) -> tuple[float, float]:
    """Medians over policies: seconds until the small network is built, and then of each image."""
    each = _LONGEST
    for count, some in ((1, policies[:1]), (10, policies[:1]), (task.batch_size, policies[1:])):  # the first warms up
        images = max(1, min(count, task.batch_size, int(_LONGEST / each)))
        evaluator.reward = noise(evaluator.network, images, images)
        building, each = np.median([score_seconds(evaluator, counts) for counts in some], axis=0) / (1, images)
    return float(building), float(each)


def _step_seconds(evaluator: Evaluator) -> float:
    """Of a step of the dense network's training; leaves the network of no further use."""
    model = evaluator.network.model.cpu().train().requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer, times = training.new_optimizer(model), []
    pixels, labels = next(iter(noise(evaluator.network, training.BATCH, training.BATCH)))
    pixels = pixels.cpu().contiguous(memory_format=torch.channels_last)
    for _ in range(6):
        training.train_step(model, pixels, labels.cpu(), optimizer)
        times.append(perf_counter())
    return float(np.median(np.diff(times)))

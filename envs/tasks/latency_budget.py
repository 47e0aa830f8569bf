"""Latency as a budget: measured once per task, machine and number of threads, and only where it can be predicted."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch

from prunebench.envs import cache, cache_files
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.latency import BAND, LAYER_ROUNDS, LOWER_BOUND, check, fit, measure
from prunebench.envs.evaluation.timing import timing_batch
from prunebench.envs.progress import Progress, silent
from prunebench.envs.tasks.keys import Dense
from prunebench.envs.tasks.preparation import load_evaluator
from prunebench.envs.tasks.task import TaskConfig, load_data


def ensure_latency(task: TaskConfig, progress: Progress = silent) -> Path:
    """Measure, fit and check the latency of a prepared task unless the cache has it; returns the cached file.

    It holds for the present number of threads (``torch.get_num_threads()``) on this machine.

    Raises:
        TaskError: the check does not hold, so that a budget would limit something else than latency.
    """
    dense = Dense(task, load_data(task))
    path, about = _path(dense), dense.about | {"threads": torch.get_num_threads()}
    if cache_files.ready(path, about):
        return path
    evaluator = load_evaluator(task).folded()
    batch = timing_batch(evaluator)
    cost = fit(evaluator.network, measure(evaluator, batch, progress=progress))
    found = check(evaluator, cost, batch, preserve=_checked_share(evaluator), progress=progress)
    if not found.holds:
        raise TaskError(f"cost 'latency': {found.sentence}; expected a cost that is counted, as 'macs'")
    arrays = {name: torch.from_numpy(array) for name, array in cost.to_arrays().items()}
    cache.save(arrays | {"images": len(batch), "threads": torch.get_num_threads()}, path)
    cache_files.use(path, about)
    cache_files.make_room()
    return path


def load_latency(task: TaskConfig) -> CostModel:
    """The latency that :func:`ensure_latency` left, in nanoseconds per image."""
    content = cache.load(ensure_latency(task))
    return CostModel.from_arrays({name: content[name].numpy() for name in ("weight", "inputs", "outputs")})


def _checked_share(evaluator: Evaluator) -> float:
    """The MACs of the check's policies, as a fraction of the dense network's: half.

    It is more where policies of half the MACs are few or none: a quarter of the way from the fewest to all, and as much
    as keeps the least of the policies above the fewest.
    """
    macs, dense = evaluator.costs["macs"], np.array(evaluator.dense)
    fewest = Budget.of(macs, dense, LOWER_BOUND, 1.0).lower_counts
    least = float(macs(fewest) / macs(dense))
    return max(0.5, least + (1 - least) / 4, least / (1 - BAND))


def _gpu(task: TaskConfig) -> str | None:
    return torch.cuda.get_device_name() if task.device == "cuda" else None


def _path(dense: Dense) -> Path:
    task = dense.task
    return cache.path(
        "latency",
        {
            "task": dense.calibration_path.name,
            "batch": task.batch_size,
            "threads": torch.get_num_threads(),
            "machine": [platform.node(), platform.processor(), platform.machine(), _gpu(task)],
            "torch": torch.__version__,
            "rounds": LAYER_ROUNDS,
        },
    )

"""About what a task takes on this machine: measured with random weights and noise for images.

Nothing is trained, downloaded or written, and no image is decoded. Called in processes of their own.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prunebench.envs import device
from prunebench.envs.data import datasets
from prunebench.envs.data.batches import Batches
from prunebench.envs.data.imagedata import ImageData, Images
from prunebench.envs.environment.budget import Budget
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.evaluator import score_batches
from prunebench.envs.evaluation.reconstruction import reconstructed_units
from prunebench.envs.networks import models
from prunebench.envs.pruning.layers import Unit
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork
from prunebench.envs.pruning.verification import enliven, sliced, verify
from prunebench.envs.tasks import estimate_solving, preparation
from prunebench.envs.tasks.estimate_images import reading_seconds, split_sizes
from prunebench.envs.tasks.estimating import Preparation
from prunebench.envs.tasks.task import TaskConfig
from prunebench.envs.weights.training import BATCH

_CALIBRATION_BATCH = 50  # images, as in prunebench.envs.tasks.preparation
_SECONDS = 1.0  # that a forward pass is repeated for
_LONGEST_PASS = 3.0  # seconds: where a batch takes longer, fewer images are timed


def preparation_costs(tasks: Sequence[TaskConfig], threads: int) -> list[Preparation]:
    """About what the preparation of tasks takes.

    Args:
        tasks: that differ in nothing but the split seed.
        threads: that may be used.

    Raises:
        TaskError: the network or the data cannot be used.
    """
    torch.set_num_threads(threads)
    started = time.perf_counter()
    verify(_network(tasks[0])[1])
    first = time.perf_counter()  # imports of libraries included: those are paid once
    data, network = _network(tasks[0])
    traced = time.perf_counter()
    verify(network)
    tracing, verifying = traced - first, time.perf_counter() - traced
    importing = max(0.0, first - started - tracing - verifying)
    images = split_sizes(tasks[0])
    forward = _seconds_per_image(_dense_pass(network), network, data, _CALIBRATION_BATCH)
    refits = tasks[0].reconstruction in ("least-squares", "both")
    refitted = reconstructed_units(network) if refits else []
    bytes_before = _peak_bytes() + _pixel_bytes(images["calibration"], data)
    calibration = tracing + verifying + estimate_solving.seconds(network, refitted, images["calibration"])
    calibration += images["calibration"] * _seconds_per_image(
        lambda batches: estimate_solving.sample(network, refitted, batches), network, data, _CALIBRATION_BATCH
    )
    cached = [_cached(task, datasets.load(task)) for task in tasks]
    steps = data.epochs * (images["train"] // BATCH)
    training = 0.0 if all(trained for trained, _ in cached) else steps * _training_step(network, data)
    return [
        Preparation(
            training=0.0 if trained else training,
            calibration=0.0 if calibrated else calibration,
            rest=importing
            + 2 * tracing
            + verifying
            + reading_seconds(task, images, not calibrated, threads)
            + (images["reward"] + images["test"]) * forward,
            images=images,
            bytes=bytes_before + (0 if calibrated else _grams(refitted)),
            shared=sum(estimate_solving.kept_bytes(unit) for unit in refitted),
        )
        for task, (trained, calibrated) in zip(tasks, cached, strict=True)
    ]


def _grams(units: Sequence[Unit]) -> int:
    """Bytes of all Gram matrices, and of copies of the widest one while it is factorised."""
    sizes = [8 * estimate_solving.columns_of(unit) ** 2 for unit in units]
    return sum(sizes) + 3 * max(sizes, default=0)


def evaluation_costs(
    task: TaskConfig, budgets: Sequence[tuple[str, float, float]], threads: int
) -> tuple[list[float], int]:
    """About what the forward passes of a run take.

    Args:
        task: whose they are.
        budgets: cost, preserve ratio and lower bound of each experiment.
        threads: of a run.

    Returns:
        Seconds per image of a network on each budget, all of whose layers keep the same ratio; and the bytes of the
        process at its peak.

    Raises:
        TaskError: the network or the data cannot be used.
        BudgetError: a budget cannot be met.
    """
    torch.set_num_threads(threads)
    data, network = _network(task)
    found: dict[tuple[int, ...], float] = {}
    seconds = []
    for budget in budgets:
        counts = _uniform_counts(network, *budget)
        if counts not in found:
            model = _small_model(network, counts)
            found[counts] = _seconds_per_image(
                lambda batches, model=model: score_batches(model, batches),  # type: ignore[misc]
                network,
                data,
                task.batch_size,
            )
        seconds.append(found[counts])
    return seconds, _peak_bytes() + _pixel_bytes(split_sizes(task)["reward"], data)


def _network(task: TaskConfig) -> tuple[ImageData, PrunableNetwork]:
    where = device.use(task.device, task.tf32)
    torch.manual_seed(0)
    data = datasets.load(task)
    example = torch.zeros(1, 3, data.image_size, data.image_size, device=where)
    network = PrunableNetwork(models.build(task.model, len(data.classes)).to(where), example, task.scope)
    enliven(network.model, network.example)
    return data, network


def _cached(task: TaskConfig, data: ImageData) -> tuple[bool, bool]:
    """Whether there is a dense network, and whether the cache has its calibration (False where that costs much)."""
    if task.weights is None and models.kind(task.model) == "torchvision":
        return True, False
    try:
        trained = preparation._weights_path(task, data).exists()
        return trained, trained and task.dataset != "imagenet" and preparation.calibration_path(task, data).exists()
    except (TaskError, OSError):
        return task.weights is not None, False


def _uniform_counts(network: PrunableNetwork, cost: str, preserve: float, lower_bound: float) -> tuple[int, ...]:
    model = network.costs()["macs" if cost == "latency" else cost]
    channels = np.array(network.channels)
    budget = Budget(model, channels, lower_bound, float(np.floor(preserve * model(channels))))
    return tuple(int(n) for n in budget.project(np.full(len(channels), preserve)))


def _small_model(network: PrunableNetwork, counts: tuple[int, ...]) -> nn.Module:
    """The small network of channel counts, the first channels of each layer, batch norm folded in."""
    order = [np.arange(channels) for channels in network.channels]

    def weights(unit: Unit) -> tuple[Tensor, Tensor | None]:
        weight, _ = sliced(unit, counts, order)
        kept = unit.outputs.kept(counts, order)
        scale, bias = (part[kept] for part in unit.fold())
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        return weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight, bias.float()

    small = SmallNetwork(network, folded=True)
    return small.fill(weights, lambda dimension: dimension.kept(counts, order))


def _dense_pass(network: PrunableNetwork) -> Callable[[Batches], object]:
    return lambda batches: score_batches(network.model, batches)


def _seconds_per_image(
    run: Callable[[Batches], object], network: PrunableNetwork, data: ImageData, batch_size: int
) -> float:
    """The median over passes that follow one which warms up and says how many images to take."""
    few = _noise(network, data, min(10, batch_size))
    run(few)
    per_image = _timed(run, few) / few.images
    count = max(1, min(batch_size, int(_LONGEST_PASS / max(per_image, 1e-9))))
    batches = _noise(network, data, count)
    run(batches)
    passes = [_timed(run, batches)]
    while sum(passes) < _SECONDS:
        passes.append(_timed(run, batches))
    return statistics.median(passes) / count


def _timed(run: Callable[[Batches], object], batches: Batches) -> float:
    started = time.perf_counter()
    run(batches)  # ends with reading a number, which waits for a GPU
    return time.perf_counter() - started


def _noise(network: PrunableNetwork, data: ImageData, count: int) -> Batches:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, data.image_size, data.image_size), dtype=np.uint8)
    labels = np.zeros(count, dtype=np.int64)
    return Batches.of(Images(pixels, labels, labels), data, count, network.example.device, resident=True)


def _training_step(network: PrunableNetwork, data: ImageData) -> float:
    """Seconds of a step of the dense network's training; leaves the network of no further use."""
    model = network.model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)

    def step(batches: Batches) -> object:
        pixels, labels = next(iter(batches))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(pixels), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    batches = _noise(network, data, BATCH)
    step(batches)
    return statistics.median(_timed(step, batches) for _ in range(5))


def _pixel_bytes(images: int, data: ImageData) -> int:
    return images * 3 * data.image_size**2


def _peak_bytes() -> int:
    """Of this process, libraries and all."""
    unit = 1 if sys.platform == "darwin" else 1024  # what the system counts in
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

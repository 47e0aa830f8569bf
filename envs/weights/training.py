"""Dense training on first use, once per network, data set and split; and the loop that fine-tuning shares with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs import cache
from prunebench.envs.data.imagedata import ImageData, Images
from prunebench.envs.errors import TaskError
from prunebench.envs.progress import Progress
from prunebench.envs.seeding import seed_everything

BATCH = 64
PEAK_LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
_CROP_MARGIN = 4  # pixels, for data sets whose images may be shifted
_SAVE_AFTER = 15.0  # seconds
_LOOK_EVERY = 10  # steps, at the loss: a look waits for a GPU
_RESIDENT = 0.5  # of a GPU's free memory, which the images may take at most


class DivergedError(TaskError):
    """Training came to numbers that are none; a smaller learning rate helps."""


def train(model: nn.Module, data: ImageData, seed: int, unfinished: Path, progress: Progress) -> None:
    """Train a network in place: AdamW, one-cycle schedule, ``data.epochs`` passes over the training split.

    Args:
        model: fresh from its builder.
        data: the data set.
        seed: fixes the order of images, their augmentation and dropout.
        unfinished: file for the state of unfinished training; the caller removes it once the network is safe.
        progress: see :mod:`prunebench.envs.progress`.

    Raises:
        TaskError: there are too few images.
    """
    model.to(memory_format=torch.channels_last)
    steps = data.epochs * steps_per_epoch(data.train())
    optimizer = new_optimizer(model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    run_steps(parts, data, steps, seed, unfinished, partial(progress, "training the dense network"))


def new_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """What the dense network is trained with, at its largest learning rate."""
    return torch.optim.AdamW(model.parameters(), PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)


def steps_per_epoch(images: Images) -> int:
    """Whole batches among the images.

    Raises:
        TaskError: there is not even one.
    """
    if len(images.labels) < BATCH:
        raise TaskError(
            f"{len(images.labels)} training images: expected at least {BATCH} to train a network, or weights"
        )
    return len(images.labels) // BATCH


def run_steps(
    parts: dict[str, Any],
    data: ImageData,
    steps: int,
    seed: int,
    unfinished: Path,
    progress: Callable[[int, int], None],
    layout: torch.memory_format = torch.channels_last,
    batch: int = BATCH,
) -> None:
    """Train until ``steps`` are done, and leave the network in evaluation mode.

    Interrupted training goes on where it last saved, with the same result as undisturbed training: everything
    random in a step is drawn from the seed and the step's number, on the processor, wherever the network is.

    Args:
        parts: ``model``, ``optimizer`` and ``schedule``, as they are before the first step; and whatever else has a
            state that is to be saved with theirs.
        data: the data set.
        steps: number of steps in all.
        seed: fixes the order of images, their augmentation and dropout.
        unfinished: file for the state of the parts while training goes on.
        progress: called with the number of steps that are done and the number in all.
        layout: the memory format of the images.
        batch: images of a step.

    Raises:
        DivergedError: the loss or the weights are no finite numbers any more.
    """
    model, optimizer, schedule = (parts[name] for name in ("model", "optimizer", "schedule"))
    images, where = data.train(), next(model.parameters()).device
    pixels, labels = _placed(images.pixels, where), torch.from_numpy(images.labels)
    first, saved = _restored(parts, unfinished), time.monotonic()
    model.train()
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        seed_everything(seed * 1_000_003 + step)  # dropout, and a user's network, draw from global generators
        rows = _rows(len(labels), step, seed, batch)
        inputs = data.normalise(pixels[rows.to(pixels.device)].to(where))
        inputs = _augment(inputs, generator, data.flips) if data.shifts else inputs
        loss = train_step(model, inputs.to(memory_format=layout), labels[rows].to(where), optimizer)
        schedule.step()
        progress(step + 1, steps)
        if (step + 1) % _LOOK_EVERY == 0 or step + 1 == steps:
            _check(bool(loss.isfinite()), "the loss", optimizer, step + 1)
        if time.monotonic() - saved > _SAVE_AFTER:
            cache.save({"step": step + 1} | {name: part.state_dict() for name, part in parts.items()}, unfinished)
            saved = time.monotonic()
    _check(all(bool(part.isfinite().all()) for part in model.parameters()), "the weights", optimizer, steps)
    model.eval()


def _placed(pixels: NDArray[np.uint8], where: torch.device) -> Tensor:
    """All images as bytes, on the device where they fit beside what training needs."""
    found = torch.from_numpy(pixels)
    if where.type != "cuda":
        return found
    free, _ = torch.cuda.mem_get_info(where)
    return found.to(where) if found.nbytes <= _RESIDENT * free else found


def _check(finite: bool, what: str, optimizer: torch.optim.Optimizer, step: int) -> None:
    if not finite:
        rate = optimizer.defaults["lr"]
        raise DivergedError(
            f"learning-rate {rate:g}: {what} became infinite or NaN by step {step}; expected a smaller one, as "
            f"{rate / 10:g}"
        )


def _restored(parts: dict[str, Any], unfinished: Path) -> int:
    """Put the parts into the state that was last saved, if any; returns the number of steps it was saved after."""
    if not unfinished.exists():
        return 0
    state = cache.load(unfinished)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _rows(count: int, step: int, seed: int, batch: int) -> Tensor:
    """The rows of a step's images among ``count``, of which every epoch takes as many whole batches as there are."""
    epoch, place = divmod(step, count // batch)
    return _order(count, seed, epoch)[place * batch : (place + 1) * batch]


@lru_cache(maxsize=1)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def train_step(model: nn.Module, pixels: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """One step of training on normalised images ``(N, C, H, W)``; returns the loss before it."""
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(pixels), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def _augment(pixels: Tensor, generator: torch.Generator, flips: bool) -> Tensor:
    """A random crop of the padded image and, where it ``flips``, a random mirror image, each image its own.

    The numbers are drawn on the processor; the pixels are moved where they are.
    """
    count, size, where = len(pixels), pixels.shape[-1], pixels.device
    padded = nn.functional.pad(pixels, (_CROP_MARGIN,) * 4)
    shifts = torch.randint(2 * _CROP_MARGIN + 1, (count, 2), generator=generator)
    along = torch.arange(size)
    rows = (shifts[:, :1] + along)[:, :, None]
    upright = torch.rand(count, 1, generator=generator) < (0.5 if flips else 1)
    columns = (torch.where(upright, along, along.flip(0)) + shifts[:, 1:])[:, None, :]
    image = torch.arange(count, device=where)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows.to(where), columns.to(where)].permute(0, 3, 1, 2)

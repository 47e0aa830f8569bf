"""Seconds of small networks, whole or layer by layer, in rounds that a drift of the machine hits alike."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from prunebench.envs.environment.budget import Counts
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.progress import Progress, silent

Seconds = NDArray[np.float64]

BATCH = 100  # images, at most: enough to keep one core busy for many milliseconds
ROUNDS = 5
KEPT = 2 / 3  # of a network's rounds, the fastest: whatever else runs on the machine only ever makes a pass longer

_WHOLE = ("",)  # the name of a network among its own modules


def timing_batch(evaluator: Evaluator, images: int = BATCH) -> Tensor:
    """The first images of the reward split, ``(N, C, H, W)``: as many as are scored at once, at most ``images``."""
    pixels, _ = next(iter(evaluator.reward.resized(min(evaluator.reward.size, images))))
    return pixels


def whole_networks(
    evaluator: Evaluator,
    policies: Sequence[Sequence[int]] | Counts,
    batch: Tensor,
    rounds: int = ROUNDS,
    progress: Progress = silent,
) -> Seconds:
    """Seconds per batch of whole small networks, ``(rounds, policies)``; each round runs all of them.

    Args:
        evaluator: builds the networks.
        policies: channel counts, ``(D,)`` each.
        batch: ``(N, C, H, W)``, normalised, on the device.
        rounds: times that each network is timed, each time after a forward pass that is not.
        progress: see :mod:`prunebench.envs.progress`.
    """
    return interleaved(evaluator, policies, batch, rounds, _WHOLE, progress, "timing whole networks")[:, :, 0]


def typical(taken: ArrayLike) -> Seconds:
    """The mean over rounds ``(rounds, ...)`` of the fastest two thirds, rounded up (docs/latency.md)."""
    ordered = np.sort(np.asarray(taken, dtype=np.float64), axis=0)
    return np.asarray(ordered[: math.ceil(KEPT * len(ordered))].mean(axis=0))


def interleaved(
    evaluator: Evaluator,
    policies: Sequence[Sequence[int]] | Counts,
    batch: Tensor,
    rounds: int,
    names: Sequence[str],
    progress: Progress,
    what: str,
) -> Seconds:
    """Seconds from the start of each named module to that of the next: ``(rounds, policies, names)``.

    The first module's start is that of the forward pass, the last one's end that of the pass. Each round runs all
    networks; ``what`` is told to ``progress``, network by network.
    """
    taken, total = [], rounds * len(policies)
    for number in range(total):
        progress(what, number, total)
        counts = [int(n) for n in policies[number % len(policies)]]
        taken.append(_timed(evaluator.build(counts), batch, names))
    progress(what, total, total)
    return np.array(taken).reshape(rounds, len(policies), len(names))


def _timed(model: nn.Module, batch: Tensor, names: Sequence[str]) -> Seconds:
    """Seconds of the named modules, ``(names,)``, in the second of two forward passes: the first warms up."""
    modules = dict(model.named_modules())
    clock = _Clock(batch.device)
    order: list[int] = []  # of the calls

    def start(index: int) -> None:
        if order:
            clock.mark()
        order.append(index)

    with torch.inference_mode():
        model(batch)
        hooks = [
            modules[name].register_forward_pre_hook(lambda *_, index=index: start(index))
            for index, name in enumerate(names)
        ]
        try:
            clock.mark()
            model(batch)
            clock.mark()
        finally:
            for hook in hooks:
                hook.remove()
    seconds = np.zeros(len(names))
    np.add.at(seconds, order, clock.spans())  # a module may be called several times
    return seconds


class _Clock:
    """Marks points of time; on a GPU between pieces of its work, which does not wait for that."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Any] = []

    def mark(self) -> None:
        if self._device.type != "cuda":
            self._marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._marks.append(event)

    def spans(self) -> Seconds:
        """``(marks - 1,)``: seconds between one mark and the next."""
        if self._device.type != "cuda":
            return np.diff(self._marks)
        torch.cuda.synchronize(self._device)
        pairs = zip(self._marks[:-1], self._marks[1:], strict=True)
        return np.array([before.elapsed_time(after) / 1e3 for before, after in pairs])

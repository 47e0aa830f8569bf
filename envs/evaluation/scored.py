"""A check of the evaluator itself, on real images: does it score the user's network, and the policies of it?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO

import numpy as np
import torch
from torch import Tensor

from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.pruning.forward import logits_of, spread

TOLERANCE = 1e-3  # of the logits' spread, in float32
_SAME = 1e-5  # so many of them are the same operations in the same order: on most machines it is 0
POLICIES = 2


def fuse_if_same(evaluator: Evaluator, images: Tensor) -> bool:
    """Let the evaluator use fused kernels if its networks give with them what they give without; whether they do.

    Args:
        evaluator: of the network, calibrated.
        images: as :func:`check_scored` takes them.
    """
    dense, (one, other) = evaluator.dense, _policies(evaluator)
    every_other = tuple(some if i % 2 else every for i, (every, some) in enumerate(zip(dense, one, strict=True)))
    policies = [dense, one, other, every_other, (1,) * len(dense)]
    expected = [_logits(evaluator.build(counts), images) for counts in policies]
    try:
        with redirect_stderr(StringIO()):  # torch.fx prints its errors, too
            evaluator.fuse()
            given = [_logits(evaluator.runner(counts), images) for counts in policies]
        same = all(_distance(one, other) <= _SAME for one, other in zip(given, expected, strict=True))
    except Exception:  # whatever tracing a network of the user's runs into
        same = False
    if not same:
        evaluator.unfuse()
    return same


def check_scored(evaluator: Evaluator, images: Tensor) -> None:
    """Compare what is scored with the network as the user gave it, and pruned networks with their unfolded selves.

    Where batch norm is recomputed for every policy nothing is folded: only the dense network is compared.

    Args:
        evaluator: of the network, calibrated.
        images: normalised real images ``(N, C, H, W)``, in the layout that is scored.

    Raises:
        TaskError: they differ.
    """
    network = evaluator.network
    name = type(network.model).__name__
    given = _logits(network.model, images.contiguous())
    off = _distance(_logits(evaluator.runner(evaluator.dense), images), given)
    if not off <= TOLERANCE:
        raise TaskError(f"{name}: as it is scored its outputs differ from the network's own by {off:.2g} of their size")
    if evaluator.recomputes:
        return
    for counts in _policies(evaluator):
        folded = _logits(evaluator.runner(counts), images)
        off = _distance(folded, _logits(evaluator.unfolded(counts), images))
        if not off <= TOLERANCE:
            raise TaskError(f"{name}: with batch norm folded into its layers, pruned outputs differ by {off:.2g}")


def _policies(evaluator: Evaluator) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [tuple(int(rng.integers(1, channels)) for channels in evaluator.dense) for _ in range(POLICIES)]


def _logits(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    logits = logits_of(model, images.clone(memory_format=torch.preserve_format))
    assert isinstance(logits, Tensor)
    return logits


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a fraction of the logits' spread."""
    return float((one - other).abs().max()) / spread(other)

"""Forward passes that find out about a network: its layout, the calls of its layers, its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.plain import Calls, calls

_SAME = 1e-3  # of the largest logit


@contextmanager
def counted(images: int) -> Iterator[list[int]]:
    """While it lasts, multiply-accumulates are counted, those of attention too; the list holds them per image then."""
    found: list[int] = []
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its products from the counter
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield found
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    found.append(counter.get_total_flops() // 2 // images)


def traced(model: nn.Module, example: Tensor) -> tuple[Calls, int]:
    """The calls of a network's layers, and its multiply-accumulates per image.

    Raises:
        TaskError: it does not run on such an image, or gives no logits.
    """
    with counted(len(example)) as macs, calls(model) as found:
        logits = logits_of(model, example)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        given = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise TaskError(f"{type(model).__name__}: gives {given}, expected logits (images, classes)")
    return found, macs[0]


def logits_of(model: Callable[[Tensor], Any], images: Tensor) -> Any:
    """What the network gives.

    Raises:
        TaskError: it does not run.
    """
    try:
        with torch.no_grad():
            return model(images)
    except Exception as error:  # whatever a network of the user's runs into
        what = " ".join(f"{type(error).__name__}: {error}".split())
        size = " x ".join(map(str, images.shape[2:]))
        raise TaskError(f"{type(model).__name__}: does not run on an image of {size}: {what}") from error


def spread(logits: Tensor) -> float:
    """How far an image's logits are from their mean, at most: what a tolerance is relative to.

    An offset that all classes have in common would hide any fault; beyond a hundredth of the largest logit float32
    itself is too coarse.
    """
    centred = logits - logits.mean(1, keepdim=True)
    return max(float(centred.abs().max()), 1e-2 * float(logits.abs().max()), 1e-12)


def layout(model: nn.Module, example: Tensor) -> torch.memory_format:
    """Channels-last where a network gives the same in it; a ``view`` of a map, say, does not run in it.

    On a GPU images are contiguous: in float32 ResNets, and what is pruned to odd numbers of channels, are slow
    channels-last (docs/networks.md has the figures).
    """
    if example.is_cuda:
        return torch.contiguous_format
    images = torch.cat([example, example + 1])  # of one image both layouts may be the same
    images = images + torch.linspace(0, 1, images[0].numel(), device=images.device).view(images[0].shape)
    expected = logits_of(model, images)
    try:
        with torch.no_grad():
            given = model(images.contiguous(memory_format=torch.channels_last))
            same = float((given - expected).abs().max()) <= _SAME * float(expected.abs().max())
    except Exception:  # whatever a network of the user's runs into
        same = False
    return torch.channels_last if same else torch.contiguous_format

"""The device that networks run on, with arithmetic that gives the same number every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prunebench.envs.choices import DEVICES
from prunebench.envs.errors import TaskError, check_choice

if TYPE_CHECKING:
    import torch


def use(name: str, tf32: bool) -> torch.device:
    """The device, with deterministic kernels; products are in full float32 unless ``tf32``.

    Raises:
        TaskError: there is no such device here.
    """
    import torch

    check_choice("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise TaskError("device 'cuda': PyTorch finds no CUDA device on this machine; expected 'cpu'")
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device(name)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock can be read."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def largest_fitting(batch_size: int, runs: Callable[[int], object]) -> int:
    """The largest of ``batch_size / 2, / 4, ...`` with which ``runs`` does not run out of memory; 0 where none does."""
    import torch

    size = batch_size // 2
    while size:
        torch.cuda.empty_cache()
        try:
            runs(size)
        except torch.cuda.OutOfMemoryError:
            size //= 2
        else:
            return size
    return 0

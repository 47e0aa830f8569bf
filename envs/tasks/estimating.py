"""The entrances to :mod:`prunebench.envs.tasks.estimate` for a process that must not import torch itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prunebench.envs.tasks.task import TaskConfig


@dataclass(frozen=True)
class Preparation:
    """What comes before the runs of a task.

    Attributes:
        training: seconds that the dense network's training takes; 0 where there is a checkpoint.
        calibration: seconds; 0 where the cache has it.
        rest: seconds to trace and check the network, to read images, and to score the dense network.
        images: of the splits ``train``, ``reward``, ``test`` and ``calibration``.
        bytes: at the peak.
        shared: bytes of the calibration, which all runs read together.
    """

    training: float
    calibration: float
    rest: float
    images: dict[str, int]
    bytes: int
    shared: int


def preparation_costs(report: Callable[..., None], tasks: Sequence[TaskConfig], threads: int) -> list[Preparation]:
    """See :func:`prunebench.envs.tasks.estimate.preparation_costs`."""
    from prunebench.envs.tasks import estimate

    return estimate.preparation_costs(tasks, threads)


def evaluation_costs(
    report: Callable[..., None], task: TaskConfig, budgets: Sequence[tuple[str, float, float]], threads: int
) -> tuple[list[float], int]:
    """See :func:`prunebench.envs.tasks.estimate.evaluation_costs`."""
    from prunebench.envs.tasks import estimate

    return estimate.evaluation_costs(task, budgets, threads)

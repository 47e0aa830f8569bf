"""Finds out about experiments what can be found out before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prunebench.harness.display import Display, watch
from prunebench.harness.processes.local import Function, Job, Processes

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig

CHECK_AHEAD = "prunebench.harness.inside.prepare:check_ahead"
"""What finds out in a process whatever can be found out about experiments before anything is trained."""


def check_ahead(
    processes: Processes, configs: Sequence[ExperimentConfig], shown: Display, check: Function = CHECK_AHEAD
) -> tuple[float, Any]:
    """Find out in a process what can be found out about all experiments without training anything.

    Returns:
        The seconds that the processes took to start, and what ``check`` returns.
    """
    start_up = processes.start_up(watch(shown))
    return start_up, processes.call(Job("checking the experiments", check, (configs,)), watch(shown))

"""The execution of runs: nothing here decides their numbers, so it may change between two calls of the command."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prunebench.envs.errors import check_choice
from prunebench.harness.errors import ConfigError, check_count
from prunebench.harness.processes import gpus, ray_cluster
from prunebench.harness.processes.local import Limits, cores

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig

ENGINES = ("local", "ray")
GIB = 1 << 30


@dataclass(frozen=True)
class Execution:
    """The execution of runs.

    Attributes:
        jobs: runs at a time; None: as many as there are cores for, with --device cuda as there are GPUs (Ray: as the
            cluster holds).
        time_limit: seconds that a run's process may take; None is no limit.
        memory_limit: GiB that a run's process and what it starts may use; None is no limit.
        attempts: how often a run may fail before it is not begun again.
        engine: ``local`` (processes on this machine) or ``ray``.
        address: address of a Ray cluster; None is a local one for the time of the command.
        gpus: GPUs of a run, a fraction where runs share one; Ray only.
    """

    jobs: int | None = None
    time_limit: float | None = None
    memory_limit: float | None = None
    attempts: int = 3
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    gpus: float = 0.0

    def check(self) -> None:
        """Raise ConfigError or TaskError where a setting is wrong."""
        check_choice("engine", self.engine, ENGINES)
        for name in ("jobs", "attempts"):
            value = getattr(self, name)
            if value is not None:
                check_count(name, value)
        for name in ("time_limit", "memory_limit"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name.replace('_', '-')} {value:g}: expected a number above 0")
        if not (0 <= self.gpus <= 1 or (math.isfinite(self.gpus) and self.gpus == int(self.gpus) > 1)):
            raise ConfigError(f"gpus {self.gpus:g}: expected a fraction of one, or a whole number")
        if self.engine != "ray" and (self.address is not None or self.gpus):
            what = f"address {self.address!r}" if self.address is not None else f"gpus {self.gpus:g}"
            raise ConfigError(f"{what} is for --engine ray, not {self.engine}")
        if self.engine == "ray":
            ray_cluster.check(self.address)

    def runs_at_once(self, config: ExperimentConfig) -> int | None:
        """Runs at a time; None where a cluster takes as many as it holds."""
        return self.jobs if self.engine == "ray" else self.at_once(config)

    def at_once(self, config: ExperimentConfig) -> int:
        """Processes at a time on this machine; one on each GPU, whose memory fits a batch once."""
        if self.jobs is not None:
            return self.jobs
        return max(1, len(shared_gpus(config)) if config.task.device == "cuda" else cores() // config.threads)

    def limits(self) -> Limits:
        """The limits of a run's process."""
        memory = None if self.memory_limit is None else int(self.memory_limit * GIB)
        return Limits(self.time_limit, memory)


def shared_gpus(config: ExperimentConfig) -> list[str]:
    """The GPUs that an experiment's processes on this machine are spread over; none where it runs on processors."""
    return gpus.visible() if config.task.device == "cuda" else []


DEFAULT = Execution()

FIELDS: dict[str, Any] = {
    "jobs": int | None,
    "time_limit": float | None,
    "memory_limit": float | None,
    "attempts": int,
    "engine": str,
    "address": str | None,
    "gpus": float,
}
"""Its settings, as a file may name them, and their types."""

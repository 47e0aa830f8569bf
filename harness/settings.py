"""The settings of an experiment as keywords: the command's options by their names, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

AgentLike = str | Mapping[str, Mapping[str, Any] | None] | Callable[..., Any]
"""An agent: as on the command line; a name and its options; or a class that stands at the top of a file."""


class _ImageSettings(TypedDict, total=False):
    image_size: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    classes: Sequence[str] | None
    flips: bool | None
    split_seed: int | Sequence[int]
    reward_images: int | None
    confirm: int
    device: str
    tf32: bool


class TrainingSettings(_ImageSettings, total=False):
    """Which images a network is trained on, and where: see ``prunebench train --help``."""

    folder: str | Path | None


class _TaskSettings(_ImageSettings, total=False):
    weights: str | Path | None
    calibration_images: int
    batch_size: int
    scope: str
    exclude: Sequence[str] | None
    importance: str
    reconstruction: str
    cost: str
    budget: str
    lower_bound: float
    reward: str
    round_to: int


class PruneSettings(_TaskSettings, total=False):
    """How what is pruned is scored, and how the budget is kept: see ``prunebench prune --help``."""

    folder: str | Path | None


class BudgetSettings(_TaskSettings, total=False):
    """What is pruned, how it is scored, and what it may cost: see ``prunebench score --help``."""

    model: str | Callable[..., Any] | Sequence[str]
    dataset: str | Callable[..., Any]
    data: str | Path | None
    preserve: float | Sequence[float]
    macs: float | str
    params: float | str
    latency_ms: float | str
    threads: int


class BenchSettings(BudgetSettings, total=False):
    """The same, who searches, and how runs are executed: see ``prunebench bench --help``."""

    agents: str | Sequence[AgentLike]
    seeds: int | str | Mapping[str, int | str]
    evaluations: int
    until_decided: bool
    max_seeds: int
    claims: str | Path
    jobs: int | None
    time_limit: float | None
    memory_limit: float | None
    attempts: int
    engine: str
    address: str | None
    gpus: float
    shard: str
    add_agents: bool
    out: str | Path | None

"""Prepares a task, and finds out what can be found out about experiments before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import torch

import prunebench.envs  # noqa: F401 - registers the environment
from prunebench.envs.tasks import budgets, costs, inspection, preparation
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig

Report = Callable[..., None]
"""Tells the parent process something; the arguments are plain values."""
MakeEnvironment = Callable[[ExperimentConfig], gymnasium.Env[Any, Any]]


def make_environment(config: ExperimentConfig) -> gymnasium.Env[Any, Any]:
    """The environment of an experiment.

    Raises:
        TaskError: the task cannot be set up.
        BudgetError: the lower bound does not allow the budget.
    """
    return gymnasium.make(
        "prunebench/ChannelPruning-v0",
        preserve=config.preserve,
        cost=config.cost,
        budget=config.budget,
        lower_bound=config.lower_bound,
        reward=config.reward,
        round_to=config.round_to,
        disable_env_checker=True,
        **dataclasses.asdict(config.task),
    )


def prepare(report: Report, config: ExperimentConfig, threads: int) -> dict[str, Any]:
    """Do once what every run needs, and find out whether it can be done at all.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: the experiment's configuration.
        threads: may be used meanwhile.

    Returns:
        The facts of :func:`prunebench.envs.tasks.preparation.prepare`, and those of the cost.

    Raises:
        RegistryError: an agent cannot be imported, or its options are wrong.
        TaskError: weights or data cannot be used.
        BudgetError: the lower bound does not allow the budget.
    """
    set_threads(threads)
    for agent in config.agents:
        registry.check(agent)
    inspection.check_budget(config.task, *config.bounds)
    return preparation.prepare(config.task, report) | prepare_cost(report, config)


def prepare_cost(report: Report, config: ExperimentConfig) -> dict[str, Any]:
    """Have ready what the budget limits, with the threads of a run; returns facts for the manifest.

    Of a cost that is measured the facts have that of the ``smallest`` network, in the cost's unit.
    """
    set_threads(config.threads)
    limited = costs.named(config.cost)
    facts = limited.prepare(config.task, report)
    if not limited.measured:
        return facts
    if config.absolute is None:
        make_environment(config)  # only now can be found out whether the budget can be met
    channels = preparation.load_evaluator(config.task).dense
    smallest = budgets.least(limited.model(config.task), channels, config.lower_bound, config.round_to)
    return facts | {"smallest": smallest}


def check_ahead(report: Report, configs: Sequence[ExperimentConfig]) -> dict[str, int]:
    """Find out about several experiments whatever can be found out before anything is trained.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        configs: the experiments' configurations.

    Returns:
        By label, for how many evaluations at most an agent asks, of those that say so (``most_evaluations``).

    Raises:
        RegistryError, TaskError, BudgetError: as :func:`prepare`.
    """
    agents = {agent.label: agent for config in configs for agent in config.agents}
    most = {label: getattr(registry.check(agent), "most_evaluations", None) for label, agent in agents.items()}
    distinct = dict.fromkeys((dataclasses.replace(config.task, split_seed=0), *config.bounds) for config in configs)
    for number, budget in enumerate(distinct):
        report("checking the experiments", number, len(distinct))
        inspection.check_budget(*budget)
    report("checking the experiments", len(distinct), len(distinct))
    return {label: count for label, count in most.items() if isinstance(count, int)}


def set_threads(threads: int) -> None:
    """Threads of this process."""
    torch.set_num_threads(threads)

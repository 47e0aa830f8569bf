"""Measures, in processes, what a forecast needs: all in a few seconds per network."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.display import Display, watch
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.processes.local import End, Job, JobCrash, JobError, Processes, cores
from prunebench.harness.running.sessions import CHECK_AHEAD

_MOST_AT_ONCE = 8  # processes that measure beside each other


@dataclasses.dataclass(frozen=True)
class Costs:
    """What was measured for one experiment.

    Attributes:
        preparation: an :class:`prunebench.envs.tasks.estimate.Preparation`.
        per_image: seconds of a forward pass on budget, while as many processes as will run do the same.
        bytes: of a run's process at its peak.
    """

    preparation: Any
    per_image: float
    bytes: int


def measure(configs: Sequence[ExperimentConfig], jobs: int, display: Display) -> tuple[list[Costs], float]:
    """The costs of experiments, and the seconds that the processes took to start.

    Args:
        configs: of the experiments, at least one.
        jobs: runs at a time.
        display: shows what is going on.

    Raises:
        JobError: an agent, a network, data or a budget cannot be used.
        JobCrash: measuring failed for another reason.
    """
    agents = [agent for config in configs for agent in config.agents]
    what, groups = "measuring", _groups(configs)
    found: dict[int, Costs] = {}
    with Processes(configs[0].threads, registry.own_modules(agents)) as processes:
        start_up = processes.start_up(watch(display))
        processes.call(Job("checking", CHECK_AHEAD, (configs,)), watch(display))
        for number, group in enumerate(groups):
            display.step(what, number, len(groups))
            found |= dict(zip(group, _measured(processes, [configs[n] for n in group], jobs), strict=True))
    display.end(what)
    return [found[number] for number in range(len(configs))], start_up


def _groups(configs: Sequence[ExperimentConfig]) -> list[list[int]]:
    """Experiments, by their numbers, with the same network on the same data and as many threads."""
    groups: defaultdict[tuple[TaskConfig, int], list[int]] = defaultdict(list)
    for number, config in enumerate(configs):
        groups[dataclasses.replace(config.task, split_seed=0), config.threads].append(number)
    return list(groups.values())


def _measured(processes: Processes, configs: Sequence[ExperimentConfig], jobs: int) -> list[Costs]:
    from prunebench.envs.tasks import estimating

    tasks = list(dict.fromkeys(config.task for config in configs))
    prepared = dict(
        zip(
            tasks,
            processes.call(Job("preparation", estimating.preparation_costs, (tasks, cores()))),
            strict=True,
        )
    )
    budgets = [(config.cost, config.preserve, config.lower_bound) for config in configs]
    arguments = (configs[0].task, budgets, configs[0].threads)
    at_once = min(jobs, _MOST_AT_ONCE)
    work = [Job(f"evaluation {n}", estimating.evaluation_costs, arguments) for n in range(at_once)]
    seconds, peaks = zip(*_values(processes, work), strict=True)
    per_image = [statistics.median(values) for values in zip(*seconds, strict=True)]
    return [Costs(prepared[c.task], value, max(peaks)) for c, value in zip(configs, per_image, strict=True)]


def _values(processes: Processes, jobs: Sequence[Job]) -> list[Any]:
    """What jobs return that run all at once."""
    values = []
    for event in processes.run(jobs, len(jobs)):
        if isinstance(event, End):
            if event.problem is not None:
                raise JobCrash(f"{event.problem}\n{event.details}") if event.details else JobError(event.problem)
            values.append(event.value)
    return values

"""What a plan would run, and about how long that takes and how much memory: for ``bench --dry-run``. Writes nothing."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.display import Display
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.pace import duration
from prunebench.harness.processes.local import Job, Processes, cores
from prunebench.harness.record.run import Run
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import plan as plans
from prunebench.harness.running import sessions
from prunebench.harness.running.plan import Plan

_INSIDE = "prunebench.harness.inside.estimate"
_MOST_AT_ONCE = 8  # processes that measure beside each other
_HEADERS = ("network", "data", "split", "budget", "agents", "seeds", "evaluations", "done", "to do", "time", "memory")

Costs = dict[str, Any]
"""What ``inside.estimate`` measured for an experiment; ``start-up`` seconds; and ``most`` evaluations, by agent."""


def describe(plan: Plan, display: Display) -> str:
    """The plan as a table with a row per experiment, and what it takes in all.

    Raises:
        JobError: an agent, a network, data or a budget cannot be used.
        JobCrash: measuring failed for another reason.
    """
    missing = [plans.missing(experiment) for experiment in plan.experiments]
    unfinished = [e.config for e, runs in zip(plan.experiments, missing, strict=True) if runs]
    jobs = plan.execution.at_once(plan.experiments[0].config)
    costs = measure(unfinished, jobs, display) if unfinished else []
    left, parts, rows, most = iter(costs), Counter[str](), [], 0.0
    for experiment, runs in zip(plan.experiments, missing, strict=True):
        taken, memory = forecast(runs, experiment.config.evaluations, next(left), jobs) if runs else ({}, 0.0)
        rows.append(_row(experiment, len(runs), sum(taken.values()), memory))
        parts, most = parts + Counter(taken), max(most, memory)
    agents = ", ".join(agent.label for agent in plan.experiments[0].config.agents)
    folders = "".join(f"\n  {experiment.folder}" for experiment in plan.experiments)
    table = tabulate(rows, _HEADERS, disable_numparse=True)
    start_up = Counter({"start-up": costs[0]["start-up"]} if costs else {})
    total = _total(start_up + parts, sum(map(len, missing)), most, jobs)
    return f"agents: {agents}\n\n{table}\n\nfolders:{folders}\n\n{total}"


def measure(configs: Sequence[ExperimentConfig], jobs: int, display: Display) -> list[Costs]:
    """The costs of experiments; what differs in split seed and budget alone is measured in the same processes."""
    groups: defaultdict[TaskConfig, list[ExperimentConfig]] = defaultdict(list)
    for config in configs:
        groups[replace(config.task, split_seed=0)].append(config)
    with Processes(configs[0].threads, registry.own_modules(a for c in configs for a in c.agents)) as processes:
        start_up, most = sessions.check_ahead(processes, configs, display)
        found: dict[ExperimentConfig, Costs] = {}
        for number, group in enumerate(groups.values()):
            display.step("measuring", number, len(groups))
            before = processes.call(Job("preparing", f"{_INSIDE}:preparing", ([c.task for c in group], cores())))
            budgets = [(config.cost, config.preserve, config.lower_bound) for config in group]
            running = Job("running", f"{_INSIDE}:running", (group[0].task, budgets, group[0].threads))
            beside = zip(*processes.call_all([running] * min(jobs, _MOST_AT_ONCE)), strict=True)
            medians = [{part: statistics.median(one[part] for one in same) for part in same[0]} for same in beside]
            found |= {c: {**a, **b} for c, a, b in zip(group, before, medians, strict=True)}
    display.end("measuring")
    return [found[config] | {"start-up": start_up, "most": most} for config in configs]


def forecast(missing: Sequence[Run], evaluations: int, costs: Costs, jobs: int) -> tuple[dict[str, float], float]:
    """Seconds of the parts of what an experiment still takes, without the agents' own; and bytes at the peak."""
    jobs = min(jobs, len(missing))
    left = [min(evaluations, costs["most"].get(run.agent, evaluations)) - len(run.lines()) for run in missing]
    each = [costs["set_up"] + max(0, count) * costs["evaluation"] + costs["test"] for count in left]
    parts = {
        "training": costs["training"],
        "other preparation": costs["calibration"] + costs["rest"],
        "runs": max(sum(each) / jobs, *each) + (len(missing) + 1) * costs["timing"],
    }
    return parts, max(costs["preparing"], jobs * costs["running"] + costs["shared"])


def _row(experiment: Experiment, missing: int, seconds: float, memory: float) -> list[str]:
    present = plans.present(experiment)
    config = present.config
    counts = (len(config.agents), config.seeds, config.evaluations, len(present.runs()) - missing, missing)
    row = [config.task.model, config.task.dataset, str(config.task.split_seed), f"{config.preserve:g} of {config.cost}"]
    return [*row, *map(str, counts), *((f"~ {duration(seconds)}", f"~ {_gib(memory)}") if missing else "--")]


def _total(parts: Counter[str], runs: int, memory: float, jobs: int) -> str:
    if not runs:
        return "nothing to do: every run is done"
    spoken = [f"{f'{runs} ' if part == 'runs' else ''}{part} {duration(taken)}" for part, taken in parts.items()]
    return (
        f"about {duration(sum(parts.values()))} on {cores()} cores with {min(jobs, runs)} runs at a time "
        f"({', '.join(spoken)});\nthe agents' own time comes on top\nabout {_gib(memory)} of memory at once"
    )


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"

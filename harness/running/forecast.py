"""Forecasts what a plan would run, how long and in how much memory, for ``bench --dry-run``. Writes nothing."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from prunebench.harness.experiments import ahead, spoken
from prunebench.harness.experiments.execution import GIB
from prunebench.harness.pace import duration
from prunebench.harness.processes.local import Job, Processes, cores
from prunebench.harness.running import plan as plans
from prunebench.harness.running.checking import check_ahead

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment
    from prunebench.harness.running.plan import Plan

PREPARING = "prunebench.harness.inside.estimate:preparing"
RUNNING = "prunebench.harness.inside.estimate:running"
_MOST_AT_ONCE = 8  # processes that measure beside each other
_HEADERS = ("network", "data", "split", "budget", "agents", "seeds", "evaluations", "done", "to do", "time", "memory")

Costs = dict[str, Any]
"""What ``inside.estimate`` measured for an experiment; ``start-up`` seconds; and ``most`` evaluations, by agent."""


def describe(plan: Plan, display: Display) -> str:
    """The plan as a table with a row per experiment, and what it takes in all; raises JobError, JobCrash."""
    missing = [plans.missing(experiment) for experiment in plan.experiments]
    unfinished = [e.config for e, runs in zip(plan.experiments, missing, strict=True) if runs]
    jobs = plan.execution.at_once(plan.experiments[0].config)
    costs = measure(unfinished, jobs, display) if unfinished else []
    left, rows, most = iter(costs), [], 0.0
    parts = Counter({"start-up": costs[0]["start-up"]} if costs else {})
    for experiment, runs in zip(plan.experiments, missing, strict=True):
        taken, memory = forecast(runs, experiment.config.evaluations, next(left), jobs) if runs else ({}, 0.0)
        rows.append(_row(experiment, len(runs), sum(taken.values()), memory))
        parts, most = parts + Counter(taken), max(most, memory)  # parts that take no time are left out
    agents = ", ".join(agent.label for agent in plan.experiments[0].config.agents)
    folders = "".join(f"\n  {experiment.folder}" for experiment in plan.experiments)
    table = tabulate(rows, _HEADERS, disable_numparse=True)
    return f"agents: {agents}\n\n{table}\n\nfolders:{folders}\n\n{_total(parts, sum(map(len, missing)), most, jobs)}"


def measure(configs: Sequence[ExperimentConfig], jobs: int, display: Display) -> list[Costs]:
    """The costs of experiments; what differs in split seed and budget alone is measured in the same processes."""
    groups: defaultdict[Any, list[ExperimentConfig]] = defaultdict(list)
    for config in configs:
        groups[replace(config.task, split_seed=0)].append(config)
    with Processes(configs[0].threads, ahead.modules(a for c in configs for a in c.agents)) as processes:
        start_up, most = check_ahead(processes, configs, display)
        found: dict[ExperimentConfig, Costs] = {}
        for number, group in enumerate(groups.values()):
            display.step("measuring", number, len(groups))
            before = processes.call(Job("preparing", PREPARING, ([c.task for c in group], cores())))
            budgets = [config.bounds for config in group]
            running = Job("running", RUNNING, (group[0].task, budgets, group[0].threads))
            beside = zip(*processes.call_all([running] * min(jobs, _MOST_AT_ONCE)), strict=True)
            for config, one, same in zip(group, before, beside, strict=True):
                found[config] = one | {part: statistics.median(s[part] for s in same) for part in same[0]}
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
    config = (present := plans.present(experiment)).config
    counts = (len(config.agents), spoken.counts([config]), config.evaluations, len(present.runs()) - missing, missing)
    row = [config.task.model, config.task.dataset, str(config.task.split_seed), spoken.budget(config)]
    return [*row, *map(str, counts), *((f"~ {duration(seconds)}", f"~ {memory / GIB:.1f} GiB") if missing else "--")]


def _total(parts: Counter[str], runs: int, memory: float, jobs: int) -> str:
    if not runs:
        return "nothing to do: every run is done"
    shares = [f"{f'{runs} ' if part == 'runs' else ''}{part} {duration(taken)}" for part, taken in parts.items()]
    return (
        f"about {duration(sum(parts.values()))} on {cores()} cores with {min(jobs, runs)} runs at a time "
        f"({', '.join(shares)});\nthe agents' own time comes on top\nabout {memory / GIB:.1f} GiB of memory at once"
    )

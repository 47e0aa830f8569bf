"""Searches of an agent on the fitted tasks and the toy, in processes; and what they reached, as curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import toy_env
from prunebench.envs.seeding import seed_everything
from prunebench.harness.analysis import anytime
from prunebench.harness.experiments import registry
from prunebench.harness.inside.recorder import EvaluationsExhausted, Recorder
from prunebench.harness.lab import recorded_tasks
from prunebench.harness.processes.local import End, Job, JobCrash, Processes, cores
from prunebench.harness.record.journal import Line, rank

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.experiments.agentspec import AgentSpec

TOY = "toy"
TASKS = (*recorded_tasks.TASKS, TOY)
BESIDE = ("random", "uniform")
"""The agents that stand beside the one that is tried."""

_TOY_LAYERS = 12
_TOY_SEED = 1000  # of the task: an agent's first random policy must not be its optimum
_TOGETHER = 5  # seeds that one process does


class Trial(NamedTuple):
    """What came of all agents on a task.

    Attributes:
        means: :func:`prunebench.harness.analysis.anytime.mean_interval` over the seeds; of the tried agent first.
        idle: seeds with which the tried agent made no evaluation.
        remarks: what else is amiss with its searches, a sentence each.
    """

    means: pd.DataFrame
    idle: list[int]
    remarks: list[str]


def environment(task: str) -> ChannelPruningEnv:
    """The environment of one of :data:`TASKS`."""
    return toy_env(_TOY_LAYERS, seed=_TOY_SEED) if task == TOY else recorded_tasks.load(task).env()


def try_seeds(
    report: Callable[..., None], spec: AgentSpec, task: str, seeds: Sequence[int], evaluations: int
) -> list[list[float]]:
    """Search with each seed, in a process; per seed the incumbent's accuracy after every evaluation, NaN before any."""
    found: list[list[float]] = []
    for seed in seeds:
        found.append(_search(lambda done: report(len(found) * evaluations + done), spec, task, seed, evaluations))
    return found


def _search(report: Callable[[int], None], spec: AgentSpec, task: str, seed: int, evaluations: int) -> list[float]:
    best: list[Line] = []
    curve: list[float] = []

    def watch(line: Line) -> None:
        if line.feasible:
            best[:] = [min([*best, line], key=rank)]
        curve.append(best[0].accuracy if best else math.nan)
        report(len(curve))

    make_agent = registry.factory(spec)
    seed_everything(seed)
    recorder = Recorder(environment(task), evaluations, watch=watch)
    with suppress(EvaluationsExhausted):
        make_agent(seed=seed).search(recorder, evaluations)
    recorder.finish()
    return curve


def curves(
    specs: Sequence[AgentSpec], tasks: Sequence[str], seeds: int, evaluations: int, display: Display
) -> dict[str, Trial]:
    """Search with all agents on all tasks.

    Args:
        specs: the agents, the one that is tried first.
        tasks: of :data:`TASKS`.
        seeds: how many, from 0.
        evaluations: of each search.
        display: shows progress.

    Returns:
        What came of them, by task.

    Raises:
        JobCrash: an agent fails; names task and seeds.
    """
    parts = [range(first, min(first + _TOGETHER, seeds)) for first in range(0, seeds, _TOGETHER)]
    cases = [(task, spec, part) for task in tasks for spec in specs for part in parts]
    jobs = [
        Job(_name(task, spec, part), "prunebench.harness.lab.trial:try_seeds", (spec, task, tuple(part), evaluations))
        for task, spec, part in cases
    ]
    done = dict(zip(cases, _values(jobs, specs, display), strict=True))
    found: dict[str, dict[str, list[list[float]]]] = {task: {spec.label: [] for spec in specs} for task in tasks}
    for task, spec, part in cases:
        found[task][spec.label] += done[task, spec, part]
    return {task: _of_task(of_agents, evaluations) for task, of_agents in found.items()}


def _name(task: str, spec: AgentSpec, seeds: range) -> str:
    return f"{spec.label} on {task}, seeds {seeds[0]} to {seeds[-1]}"


def _values(jobs: list[Job], specs: Sequence[AgentSpec], display: Display) -> list[list[list[float]]]:
    """What the jobs return, in order; progress is that of all evaluations."""
    total = {job.name: len(job.args[2]) * job.args[3] for job in jobs}
    found: dict[str, list[list[float]]] = {}
    done = dict.fromkeys(total, 0)
    with Processes(1, ["prunebench.harness.lab.trial", *registry.own_modules(specs)]) as processes:
        for event in processes.run(jobs, cores()):
            if isinstance(event, End):
                if event.problem is not None:
                    raise JobCrash(f"{event.name}: {event.problem}\n{event.details}")
                found[event.name], done[event.name] = event.value, total[event.name]
            elif event.values is not None:
                (done[event.name],) = event.values
            display.step("searching", sum(done.values()), sum(total.values()), event.name)
    display.end("searching")
    return [found[job.name] for job in jobs]


def _of_task(found: dict[str, list[list[float]]], evaluations: int) -> Trial:
    rows = [
        {"agent": agent, "seed": seed, "index": index, "incumbent": 100 * accuracy}
        for agent, curves in found.items()
        for seed, curve in enumerate(curves)
        for index, accuracy in enumerate(curve)
    ]
    means = anytime.mean_interval(anytime.by_evaluations(pd.DataFrame(rows), evaluations))
    tried = next(iter(found))
    idle = [seed for seed, curve in enumerate(found[tried]) if not curve]
    return Trial(means, idle, list(_remarks(tried, found[tried], evaluations)))


def _remarks(agent: str, curves: list[list[float]], evaluations: int) -> Iterator[str]:
    """That searches ended early, or found nothing within the budget."""
    counts = sorted({len(curve) for curve in curves if len(curve) < evaluations})
    short = sum(len(curve) < evaluations for curve in curves)
    if counts:
        used = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        yield f"{agent} used {used} of {evaluations} evaluations{_of_seeds(short, len(curves))}."
    without = sum(bool(curve) and math.isnan(curve[-1]) for curve in curves)
    if without:
        yield f"{agent} found no policy within the budget{_of_seeds(without, len(curves))}: there is no mean then."


def _of_seeds(some: int, every: int) -> str:
    return "" if some == every else f" with {some} of {every} seeds"

"""Searches of an agent on the fitted tasks and the toy, in processes; and what they reached, as curves."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import toy_env
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
    _seed_everything(seed)
    recorder = Recorder(environment(task), evaluations, watch=watch)
    with suppress(EvaluationsExhausted):
        make_agent(seed=seed).search(recorder, evaluations)
    recorder.finish()
    return curve


def _seed_everything(seed: int) -> None:
    """Seed the global generators: libraries draw from them."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def curves(
    specs: Sequence[AgentSpec], tasks: Sequence[str], seeds: int, evaluations: int, display: Display
) -> dict[str, pd.DataFrame]:
    """Search with all agents on all tasks.

    Args:
        specs: the agents.
        tasks: of :data:`TASKS`.
        seeds: how many, from 0.
        evaluations: of each search.
        display: shows progress.

    Returns:
        By task, :func:`prunebench.harness.analysis.anytime.mean_interval` over the seeds.

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
    return {task: _of_task({case: done[case] for case in cases if case[0] == task}, evaluations) for task in tasks}


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


def _of_task(found: dict[tuple[str, AgentSpec, range], list[list[float]]], evaluations: int) -> pd.DataFrame:
    rows = [
        {"agent": spec.label, "seed": seed, "index": index, "incumbent": 100 * accuracy}
        for (_, spec, seeds), curves in found.items()
        for seed, curve in zip(seeds, curves, strict=True)
        for index, accuracy in enumerate(curve)
    ]
    return anytime.mean_interval(anytime.by_evaluations(pd.DataFrame(rows), evaluations))

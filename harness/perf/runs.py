"""`make perf`, second part: what the harness itself takes of a run, and two runs at a time against one.

The embedded default's network and data, with weights that nobody trained: times do not depend on them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.inside import prepare, run
from prunebench.harness.processes.local import End, Job, Processes, cores
from prunebench.harness.record.journal import Seconds
from prunebench.harness.record.store import Experiment

AGENTS = ("random", "bo", "ddpg")
EVALUATIONS = 60
ROUNDS = 3  # of one run after another, then both at a time
_CALIBRATION_IMAGES = 500
_HEADERS = ("agent", "evaluations", "seconds", "agent", "reconstruction", "forward", "environment", "harness in all")


def main() -> None:
    """Measure and print two tables."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRUNEBENCH_CACHE"] = folder  # nothing of this is of use to anybody else
        config = _config(Path(folder) / "weights.pt")
        with Processes(1, ahead.modules(config.agents)) as processes:
            start_up = processes.start_up()
            processes.call(Job("weights", _draw_weights, (config.task,)))
            processes.call(Job("preparation", prepare.prepare, (config, cores())))
            _print_shares(processes, config, Path(folder) / "shares")
            _print_speed_up(processes, config, Path(folder))
    print(f"starting the server that imports everything, once per command: {start_up:.1f} s")


def _config(weights: Path) -> ExperimentConfig:
    weights.touch()
    task = TaskConfig(weights=str(weights), calibration_images=_CALIBRATION_IMAGES)
    return ExperimentConfig(task=task, agents=tuple(map(AgentSpec, AGENTS)), evaluations=EVALUATIONS, seeds=2)


def _draw_weights(report: Callable[..., None], task: TaskConfig) -> None:
    import torch

    from prunebench.envs.networks import models

    torch.manual_seed(0)
    torch.save(models.build(task.model, len(load_data(task).classes)).state_dict(), str(task.weights))


def _print_shares(processes: Processes, config: ExperimentConfig, folder: Path) -> None:
    rows = [processes.call(Job(agent, _shares, (config, agent, folder))) for agent in AGENTS]
    print(tabulate(rows, _HEADERS, floatfmt=(*("",) * 2, ".1f", *(".2%",) * 5)))
    print(
        "\nmobilenetv2 on digits, 500 reward images, one thread, one run at a time: shares of the wall-clock time\n"
        "from the first evaluation's end to the last one's. harness in all: whatever is neither the agent's, nor\n"
        "reconstruction or forward pass: environment, budget, recording with fsync, progress.\n"
    )


def _shares(report: Callable[..., None], config: ExperimentConfig, agent: str, folder: Path) -> list[Any]:
    """A row: seconds of a run between its first and its last evaluation, and the shares of its parts."""
    ends: list[float] = []
    run.run_one(lambda *_: ends.append(time.perf_counter()), config, agent, 0, folder)
    lines = Experiment(folder, config).run(agent, 0).lines()[1:]
    span = ends[-1] - ends[0]
    parts = {name: sum(getattr(line.seconds, name) for line in lines) / span for name in Seconds.model_fields}
    harness = 1 - parts["agent"] - parts["reconstruction"] - parts["forward"]
    return [agent, len(lines), span, *parts.values(), harness]


def _print_speed_up(processes: Processes, config: ExperimentConfig, folder: Path) -> None:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for at_once in seconds:
            seconds[at_once].append(_two_runs(processes, config, folder / f"{number}-{at_once}", at_once))
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    row = [statistics.median(seconds[1]), statistics.median(seconds[2]), statistics.median(ratios)]
    print(tabulate([[*row, min(ratios), max(ratios)]], _SPEED_HEADERS, floatfmt=".2f"))
    print(f"\ntwo runs of {EVALUATIONS} evaluations, one thread each, on {cores()} cores; {ROUNDS} rounds of both\n")


_SPEED_HEADERS = ("one at a time, s", "two at a time, s", "speed-up (median)", "least", "most")


def _two_runs(processes: Processes, config: ExperimentConfig, folder: Path, at_once: int) -> float:
    jobs = [Job(f"seed {seed}", run.run_one, (config, "random", seed, folder)) for seed in range(2)]
    started = time.perf_counter()
    problems = [event.problem for event in processes.run(jobs, at_once) if isinstance(event, End) and event.problem]
    if problems:
        raise RuntimeError(problems[0])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""Simulates how long a thousand runs take on 1 to 256 workers, from the run times that an experiment has recorded.

python docs/cluster_simulation.py results/<experiment> [--runs N] [--start-up S] [--preparation S] [--repeats N]

Runs are drawn (bootstrap, agent by agent) from the recorded ones and given to workers as they become free: in the order
in which ``bench`` submits them, and the longest first. Before them one process prepares the task, after them one times
the incumbents. Prints a table.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from prunebench.envs.evaluation.timing import ROUNDS
from prunebench.harness.analysis.results import Results
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment

Seconds = npt.NDArray[np.float64]

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HEADERS = (
    *("workers", "ideal, s", "lower bound, s", "runs as submitted, s", "longest first, s", "efficiency"),
    *("whole command, s", "speed-up"),
)


def recorded(experiment: Experiment) -> dict[str, Seconds]:
    """Per agent, of its finished runs: seconds from the beginning of set-up to the last evaluation."""
    runs = Results([experiment]).runs
    done = runs[runs["status"] == "done"]
    setup = [experiment.run(a, s).status().seconds["setup"] for a, s in zip(done["agent"], done["seed"], strict=True)]
    seconds = done["seconds"].to_numpy() + np.array(setup)
    return {str(agent): seconds[(done["agent"] == agent).to_numpy()] for agent in done["agent"].unique()}


def closing_seconds(experiment: Experiment) -> float:
    """Of one run's incumbent when all are over: timed so often, and each time after a pass that is not."""
    latencies = (run.status().latency for run in experiment.runs())
    return float(np.mean([2 * ROUNDS * latency.seconds for latency in latencies if latency]))


def draw(times: dict[str, Seconds], runs: int, generator: np.random.Generator) -> Seconds:
    """Seconds of runs in the order in which they are submitted: seed by seed, agent by agent."""
    agents = list(times)
    return np.array([generator.choice(times[agents[number % len(agents)]]) for number in range(runs)])


def makespan(durations: Sequence[float] | Seconds, workers: int) -> float:
    """Seconds until the last of them is over, each given to the worker that is free first."""
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def row(draws: list[Seconds], workers: int, serial: float) -> list[Any]:
    """A line of the table: means over draws."""
    ideal = float(np.mean([each.sum() / workers for each in draws]))
    bound = float(np.mean([max(each.max(), each.sum() / workers) for each in draws]))
    submitted = float(np.mean([makespan(each, workers) for each in draws]))
    longest = float(np.mean([makespan(np.sort(each)[::-1], workers) for each in draws]))
    alone = ideal * workers + serial
    whole = submitted + serial
    return [workers, ideal, bound, submitted, longest, f"{100 * ideal / submitted:.1f} %", whole, alone / whole]


def main() -> None:
    """Read the arguments, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--start-up", type=float, default=3.0, help="seconds of a run before its set-up, on Ray")
    parser.add_argument("--preparation", type=float, default=208.0, help="seconds before the first run")
    parser.add_argument("--repeats", type=int, default=20, help="draws that are averaged")
    given = parser.parse_args()
    experiment = store.load(given.folder)
    times, closing = recorded(experiment), closing_seconds(experiment) * given.runs
    generator = np.random.default_rng(0)
    draws = [draw(times, given.runs, generator) + given.start_up for _ in range(given.repeats)]
    for agent, seconds in times.items():
        print(f"{agent}: {len(seconds)} runs, {seconds.min():.1f} to {seconds.max():.1f} s")
    print(f"each of {given.runs} runs: {given.start_up:g} s more to start it")
    print(f"one after another: {given.preparation:.0f} s of preparation, {closing:.0f} s of timing incumbents\n")
    rows = [row(draws, workers, given.preparation + closing) for workers in WORKERS]
    formats = ("", ".0f", ".0f", ".0f", ".0f", "", ".0f", ".1f")
    print(tabulate(rows, HEADERS, tablefmt="github", floatfmt=formats, stralign="right"))


if __name__ == "__main__":
    main()

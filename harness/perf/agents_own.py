"""`make perf`, last part: what each agent takes for a step of its own, by the number of layers and of evaluations.

On the toy task, whose environment takes next to no time. A step is what lies between two evaluations.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from prunebench.agents.base import AskTellAgent, run_episode
from prunebench.envs.environment.toy import toy_env
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import parse
from prunebench.harness.inside.recorder import Recorder
from prunebench.harness.record.journal import Line

LAYERS = (18, 27, 54)
EVALUATIONS = (200, 1000)
STEPS = 10  # the last so many of a search are counted: agents refit their models at every fifth at least
MODELS = ("bo", "clustered_bo", "adaptive_clustered_bo", "turbo")
"""Their steps take long and grow with what they know: they are told random policies up to the steps that count."""
EPISODES = ("ddpg", "sac")
"""A step of theirs takes as long at any evaluation: measured at the fewest alone."""


def main(names: Iterable[str] = ()) -> None:
    """Measure the agents of those names (default: all that are registered) and print one table, row by row."""
    columns = [(layers, evaluations) for layers in LAYERS for evaluations in EVALUATIONS]
    print("agent".ljust(24), *(f"{layers} layers, {evaluations:,}".rjust(16) for layers, evaluations in columns))
    for name in names or registry.names():
        print(name.ljust(24), end="", flush=True)
        for column in columns:
            taken = _milliseconds(name, *column)
            print(f"{'-' if taken is None else f'{taken:.3g}':>17}", end="", flush=True)
        print()
    print(
        f"\nmilliseconds of a step, mean of the last {STEPS}, {torch.get_num_threads()} threads, toy task, half of the "
        "MACs. Agents with\na model were told random policies before; the first step after that is not counted."
    )


def _milliseconds(name: str, layers: int, evaluations: int) -> float | None:
    make = registry.factory(parse(name)[0])
    if name in EPISODES and evaluations != EVALUATIONS[0]:
        return None
    agent = make(seed=0)
    seconds = told(agent, layers, evaluations) if name in MODELS else _searched(agent, layers, evaluations)
    return 1000 * float(np.mean(seconds[-STEPS:]))


def _searched(agent: Any, layers: int, evaluations: int) -> list[float]:
    """The agent's seconds before each evaluation of a whole search."""
    lines: list[Line] = []
    agent.search(Recorder(toy_env(layers, seed=100), evaluations, watch=lines.append), evaluations)
    return [line.seconds.agent for line in lines]


def told(agent: AskTellAgent, layers: int, evaluations: int) -> list[float]:
    """The agent's seconds before each evaluation of a search whose policies are random but for the last ones."""
    env, rng, seconds = toy_env(layers, seed=100), np.random.default_rng(0), []
    _, info = env.reset()
    agent.setup(info, evaluations)
    for left in range(evaluations, 0, -1):
        started = time.perf_counter()
        policy = agent.ask() if left <= STEPS + 1 else env.budget.ratios(env.budget.project(rng.random(layers)))
        seconds.append(time.perf_counter() - started)
        env.reset()
        agent.tell(run_episode(env, policy))
    return seconds


if __name__ == "__main__":
    main()

"""Agents and runs for tests; importable by child processes."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from prunebench.agents.base import run_episode
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, FinalScore, Score
from prunebench.envs.environment.toy import ToyEvaluator
from prunebench.envs.errors import TaskError
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.inside import run, score
from prunebench.harness.record.journal import Line

MODULES = ("prunebench.harness.inside.run", "torch")  # all that processes of these tests need
LAYERS = 4
DENSE = {"reward_accuracy": 0.9, "test_accuracy": 0.8, "macs": 1_000_000, "parameters": 20_000}
FACTS: dict[str, Any] = {
    "dense": DENSE,
    "layers": LAYERS,
    "channels": [32] * LAYERS,
    "splits": {"calibration": 30, "reward": 20, "test": 10},
    "weights_sha256": "w",
    "data_sha256": "d",
}


class TestedEvaluator(ToyEvaluator):
    """The toy with a test split, and a cost in seconds that is known."""

    __test__ = False  # no test class

    def score(self, counts: tuple[int, ...]) -> Score:
        self.seconds["reconstruction"] += 0.25
        self.seconds["forward"] += 0.5
        return super().score(counts)

    def confirm(self, counts: tuple[int, ...]) -> Score:
        accuracy, loss = self.score(counts)
        return Score(1 - accuracy**2, loss)  # the best policy of a search is none of the best here

    def test(self, counts: tuple[int, ...]) -> FinalScore:
        accuracy, loss = super().score(counts)
        return FinalScore(accuracy / 2, loss)


def environment(config: ExperimentConfig) -> ChannelPruningEnv:
    return ChannelPruningEnv(TestedEvaluator(LAYERS), preserve=config.preserve, budget=config.budget)


class Sampler:
    """Uniform policies from its own generator; every third repeats the one before."""

    def __init__(self, *, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def policy(self, number: int) -> np.ndarray:
        if number % 3 != 2:
            self.last = self.rng.uniform(0.1, 1.0, LAYERS)
        return self.last

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        for number in range(evaluations):
            env.reset()
            run_episode(env, self.policy(number))


class Overspender(Sampler):
    """Never stops by itself."""

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        for number in itertools.count():
            env.reset()
            run_episode(env, self.policy(number))


class Capricious(Sampler):
    """Pays no heed to its seed."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=int.from_bytes(os.urandom(4)))


class Global(Sampler):
    """Draws from the global generators, as some libraries do."""

    def policy(self, number: int) -> np.ndarray:
        import random

        import torch

        return 0.1 + 0.3 * (np.random.rand(LAYERS) + random.random() + torch.rand(LAYERS).double().numpy())


class Failing(Sampler):
    """Fails in its third episode."""

    def policy(self, number: int) -> np.ndarray:
        if number == 2:
            raise ZeroDivisionError("on\npurpose")
        return super().policy(number)


class Idle(Sampler):
    """Does nothing."""

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        pass


class Dying(Sampler):
    """Its process is killed in its fourth episode, but not in a replay."""

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        self.replayed = bool(env._past)  # type: ignore[attr-defined]
        super().search(env, evaluations)

    def policy(self, number: int) -> np.ndarray:
        if number == 3 and not self.replayed:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().policy(number)


class Slow(Sampler):
    """Takes its time."""

    def policy(self, number: int) -> np.ndarray:
        time.sleep(0.2)
        return super().policy(number)


class Noting(Sampler):
    """Has an option, and leaves notes."""

    def __init__(self, *, seed: int, factor: Any) -> None:
        super().__init__(seed=seed)
        self.factor = float(factor)

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        super().search(env, evaluations)
        self.notes = {"factor": self.factor, "evaluations": evaluations}


_CLASSES = (Sampler, Overspender, Capricious, Global, Failing, Idle, Dying, Slow, Noting)
AGENTS = {cls.__name__.lower(): cls for cls in _CLASSES}


def registered() -> dict[str, EntryPoint]:
    return {name: EntryPoint(name, f"toy_runs:{cls.__name__}", registry.GROUP) for name, cls in AGENTS.items()}


def prepare(report: Any, config: ExperimentConfig, threads: int) -> dict[str, Any]:
    report("preparing", 1, 1)
    return FACTS


def greedy_for_memory(report: Any, config: ExperimentConfig, threads: int) -> dict[str, Any]:
    """Takes more and more memory."""
    taken = []
    while True:
        taken.append(np.ones(10_000_000))
        time.sleep(0.02)


def measure_latency(report: Any, config: ExperimentConfig, policies: list[list[int]]) -> dict[str, Any]:
    report("timing whole networks", 1, 1)
    return {"seconds": [0.5] * len(policies), "dense_seconds": 1.0, "images": 10, "threads": config.threads}


def run_one(
    report: Any, config: ExperimentConfig, agent: str, seed: int, folder: Path, begun: int | None = None
) -> None:
    registry.registered = registered  # type: ignore[assignment]
    run.run_one(report, config, agent, seed, folder, begun, environment)


def without_times(lines: list[Line]) -> list[dict[str, Any]]:
    return [line.model_dump(exclude={"seconds"}) for line in lines]


def refusing(report: Any, config: ExperimentConfig, threads: int) -> None:
    raise TaskError("no such weights")


def refusing_little(report: Any, config: ExperimentConfig, threads: int) -> dict[str, Any]:
    """Refuses a small budget, as latency's can only be refused when it has been measured."""
    if config.preserve < 0.4:
        raise TaskError(f"a budget of {config.preserve} cannot be met")
    return FACTS


def check_ahead(report: Any, configs: list[ExperimentConfig]) -> None:
    """Nothing is wrong."""


def refusing_all(report: Any, configs: list[ExperimentConfig]) -> None:
    raise TaskError("no such weights")


def score_policy(report: Any, config: ExperimentConfig, policy: Any, clip: bool, threads: int) -> dict[str, Any]:
    return score.scored(environment(config), policy, clip) | {"preserve": config.preserve}


def crashing(report: Any, config: ExperimentConfig, *_: Any) -> None:
    raise ZeroDivisionError


def nap(report: Any) -> None:
    time.sleep(0.1)


def main(folder: str) -> None:
    """A bench in a process of its own, to be disturbed."""
    from prunebench.harness import cli
    from prunebench.harness.commands import bench as bench_command
    from prunebench.harness.experiments import ahead
    from prunebench.harness.running import bench

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    registry.registered = registered  # type: ignore[assignment]
    registry.CONTROLS = ()  # type: ignore[assignment]
    ahead.modules = lambda *agents: MODULES  # type: ignore[assignment]
    bench_command.bench = partial(  # type: ignore[assignment]
        bench.bench, prepare=prepare, run_one=run_one, measure_latency=measure_latency
    )
    cli.main(["bench", *["--agents", "slow", "--evaluations", "12", "--seeds", "2", "--jobs", "2", "--out"], folder])


if __name__ == "__main__":
    import toy_runs  # under its own name: functions of __main__ are not found by child processes

    toy_runs.main(sys.argv[1])

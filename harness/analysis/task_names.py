"""What experiments are called beside each other: by the task, and by what tells one from the other here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import ExperimentConfig, differences
from prunebench.harness.record.store import Experiment


def settings(configs: Sequence[ExperimentConfig]) -> list[str]:
    """A name for each experiment's task but for its split; experiments that nothing else tells apart share one."""
    return task_names([replace(config, task=replace(config.task, split_seed=0)) for config in configs], same=True)


def task_names(configs: Sequence[ExperimentConfig], same: bool = False) -> list[str]:
    """A short name for each experiment: network and budget, and whatever else tells it from the others here.

    Args:
        configs: of the experiments.
        same: whether experiments that nothing tells apart may share a name; else they are numbered.
    """
    spoken = [_spoken(config) for config in configs]
    varying = [key for key in spoken[0] if len({values[key] for values in spoken}) > 1]
    names = [
        ", ".join([values["model"], values["preserve"], *(values[key] for key in varying if key not in _ALWAYS)])
        for values in spoken
    ]
    if same:
        return names
    return [name if names.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(names)]


_ALWAYS = ("model", "preserve")


def _spoken(config: ExperimentConfig) -> dict[str, str]:
    task = config.task
    cost = {"macs": "MACs"}.get(config.cost, config.cost)
    return {
        "model": task.model,
        "preserve": f"{100 * config.preserve:g} % of {cost}",
        "dataset": task.dataset,
        "split": f"split {task.split_seed}",
        "evaluations": f"{config.evaluations} evaluations",
        "scope": f"scope {task.scope}",
        "importance": task.importance,
        "reconstruction": task.reconstruction,
        "budget": f"budget {config.budget}",
        "reward": f"reward {config.reward}",
    }


def check_distinct(experiments: Sequence[Experiment]) -> None:
    """Raise ConfigError where two experiments hold the same runs: counted twice they would pass for more seeds."""
    for first, second in combinations(experiments, 2):
        theirs = replace(second.config, agents=first.config.agents)
        shared = [agent.label for agent in first.config.agents if agent in second.config.agents]
        if shared and not differences(first.config, theirs):
            raise ConfigError(
                f"{str(first.folder)!r} and {str(second.folder)!r} hold the same runs ({', '.join(shared)}): expected "
                "each experiment once"
            )

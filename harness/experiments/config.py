"""The configuration of an experiment, and of training on after it: everything that decides its numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from prunebench.envs.environment.budget import BudgetError
from prunebench.envs.environment.channel_pruning import BUDGET_MODES
from prunebench.envs.environment.rewards import REWARDS
from prunebench.envs.errors import check_choice
from prunebench.envs.networks import models
from prunebench.envs.tasks import costs
from prunebench.envs.tasks.budgets import Limit
from prunebench.envs.tasks.costs import COSTS
from prunebench.envs.tasks.task import TaskConfig, check_task
from prunebench.harness import seeds as sets
from prunebench.harness.errors import ConfigError, StoreError, UnmetError, check_count, check_positive
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.files import SCHEMA

_UNSAID = math.nan + 0.0  # an object of its own: whoever names a preserve ratio, NaN even, names another
_UNKNOWN = 0.0  # which no environment takes

Bounds = tuple[str, float, float, float | None, int]
"""Cost, preserve ratio, lower bound, the absolute budget if there is one, and of what number counts are multiples."""


@dataclass(frozen=True)
class ExperimentConfig:
    """An experiment: one task, one budget, several agents and seeds.

    Attributes:
        task: network, weights, data and splits.
        preserve: the budget, as a fraction of the dense network's cost; half unless said. Of a ``limit`` it is known
            once the task is prepared (:func:`settled`), and 0 before.
        cost: the cost that it limits, a name in :data:`prunebench.envs.tasks.costs.COSTS`.
        limit: the budget as an absolute number, in the cost's unit, where it was asked for so.
        budget: ``wall`` or ``project``.
        lower_bound: the smallest preserve ratio of a layer.
        reward: a name in :data:`prunebench.envs.environment.rewards.REWARDS`.
        round_to: channels are kept in multiples of it, see :attr:`prunebench.envs.environment.budget.Budget.block`.
        agents: names and options; text is taken as on the command line.
        evaluations: paid episodes per run.
        threads: of one run's process. They change the last bits of an accuracy.
        seeds: how many (5: 0 to 4) or which (``5-9``, ``0-2,7``), see :mod:`prunebench.harness.seeds`; where agents
            differ a mapping from each label, which is kept as pairs. They may grow later, and so may the agents.
        looks: numbers of seeds at which is looked whether more are needed, fixed before the first run; empty where
            seeds are not added by what is seen, see :mod:`prunebench.harness.analysis.sequential`.
        claims: hash of a file of claims that were registered before the first run; empty for none.
        shard: ``i/n``: of all these runs every n-th only, see :func:`prunebench.harness.seeds.of_shard`.
    """

    task: TaskConfig = field(default_factory=TaskConfig)
    preserve: float = _UNSAID
    cost: str = "macs"
    limit: float | None = None
    budget: str = "wall"
    lower_bound: float = 0.1
    reward: str = "accuracy"
    round_to: int = 1
    agents: tuple[AgentSpec, ...] = tuple(
        map(AgentSpec, (*registry.CONTROLS, "ddpg", "bo", "clustered_bo", "adaptive_clustered_bo"))
    )
    evaluations: int = 100
    threads: int = 1
    seeds: sets.PerAgent = 5
    looks: tuple[int, ...] = ()
    claims: str = ""
    shard: str = "1/1"

    def __post_init__(self) -> None:
        if isinstance(self.agents, str | Mapping):
            raise ConfigError(
                f"agents {self.agents!r}: expected a list of names, or of names with a mapping of options"
            )
        if self.preserve is _UNSAID:
            object.__setattr__(self, "preserve", 0.5 if self.limit is None else _UNKNOWN)
        object.__setattr__(self, "agents", tuple(map(AgentSpec.from_plain, self.agents)))
        object.__setattr__(self, "seeds", sets.in_short(self.seeds, [agent.label for agent in self.agents]))

    @property
    def absolute(self) -> Limit | None:
        """The budget as an absolute number, where it was asked for so."""
        return None if self.limit is None else Limit(self.cost, self.limit)

    @property
    def bounds(self) -> Bounds:
        """What a policy must keep to."""
        return self.cost, self.preserve, self.lower_bound, self.limit, self.round_to

    @property
    def search_evaluations(self) -> int:
        """The evaluations of a run that its agent has: all but those that confirm its best policies."""
        return self.evaluations - self.task.confirm

    def agent(self, label: str) -> AgentSpec:
        """The agent of this label."""
        return {agent.label: agent for agent in self.agents}[label]

    def seeds_of(self, label: str) -> tuple[int, ...]:
        """The seeds of an agent's runs in this shard."""
        number = [agent.label for agent in self.agents].index(label)
        return sets.of_shard(self.all_seeds_of(label), number, len(self.agents), self.shard)

    def all_seeds_of(self, label: str) -> tuple[int, ...]:
        """The seeds of an agent's runs in all shards."""
        return sets.parse(dict(self.seeds)[label] if isinstance(self.seeds, tuple) else self.seeds)

    def runs(self) -> list[tuple[str, int]]:
        """Label and seed of every run, seed by seed."""
        own = {agent.label: self.seeds_of(agent.label) for agent in self.agents}
        return [(label, seed) for seed in sorted(set().union(*own.values())) for label in own if seed in own[label]]


def grown(
    config: ExperimentConfig, runs: Mapping[str, Iterable[int]], agents: Iterable[AgentSpec] = ()
) -> ExperimentConfig:
    """The configuration with more runs.

    Args:
        config: keeps all its runs.
        runs: seeds by the labels of agents: its own, or of ``agents``.
        agents: they join where it does not have them.
    """
    joint = {agent.label: agent for agent in (*config.agents, *agents)}
    before = {agent.label: config.all_seeds_of(agent.label) for agent in config.agents}
    seeds = {label: sets.write([*before.get(label, ()), *runs.get(label, ())]) for label in joint}
    return replace(config, agents=tuple(joint.values()), seeds=sets.in_short(seeds, list(seeds)))


def settled(config: ExperimentConfig, facts: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration with the fraction that an absolute budget is of the dense network's cost.

    Args:
        config: without an absolute budget it stays as it is.
        facts: about the prepared task; ``smallest`` among them where the cost is measured.

    Raises:
        UnmetError: no network within the lower bound is as fast.
        BudgetError: the budget is above the dense network's cost.
    """
    if config.absolute is None:
        return config
    dense = costs.named(config.cost).dense(facts)
    smallest = float(facts.get("smallest", 0.0))
    try:
        return replace(config, preserve=config.absolute.of(dense, smallest, config.lower_bound, config.round_to))
    except BudgetError as error:
        raise (UnmetError(str(error)) if config.absolute.limit < smallest else error) from None


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings by which networks are trained on.

    Attributes:
        epochs: passes over the training split, fractions allowed; None is a quarter of the dense network's.
        learning_rate: that of the first step.
    """

    epochs: float | None = None
    learning_rate: float = 0.003

    def check(self) -> None:
        """Raise ConfigError unless both are positive numbers."""
        for name, value in (("epochs", self.epochs), ("learning-rate", self.learning_rate)):
            if value is not None:
                check_positive(name, value)


DEFAULT_FINETUNING = FinetuneSettings()


def with_controls(agents: Sequence[AgentSpec]) -> tuple[AgentSpec, ...]:
    """The agents, and before them those controls that they lack."""
    named = {agent.name for agent in agents}
    return (*(AgentSpec(name) for name in registry.CONTROLS if name not in named), *agents)


def without_new_controls(existing: ExperimentConfig, wanted: ExperimentConfig) -> ExperimentConfig:
    """What is wanted of an existing experiment, less the controls that it was created without.

    Controls join when an experiment is created. One that became a control later must not keep it from going on.
    """
    joining = {*added(existing, wanted)} & {*registry.CONTROLS}
    kept = tuple(agent for agent in wanted.agents if agent.label not in joining)
    if not kept:  # nothing else was named
        return wanted
    seeds = {agent.label: sets.write(wanted.all_seeds_of(agent.label)) for agent in kept}
    return replace(wanted, agents=kept, seeds=sets.in_short(seeds, list(seeds)))


def of_seeds(config: ExperimentConfig, chosen: Collection[int]) -> ExperimentConfig | None:
    """The configuration with those of its runs that have one of these seeds, chosen by no look; None if none has."""
    own = {a.label: [seed for seed in config.seeds_of(a.label) if seed in chosen] for a in config.agents}
    seeds = {label: sets.write(found) for label, found in own.items() if found}
    kept = tuple(agent for agent in config.agents if agent.label in seeds)
    return (
        replace(config, agents=kept, seeds=sets.in_short(seeds, list(seeds)), shard="1/1", looks=()) if kept else None
    )


def check(config: ExperimentConfig) -> None:
    """Raise ConfigError or TaskError for whatever can be seen to be wrong without reading weights or images."""
    _check_budget(config)
    _check_number("lower-bound", config.lower_bound, "a preserve ratio above 0 and at most 1")
    check_choice("budget", config.budget, BUDGET_MODES)
    check_choice("reward", config.reward, REWARDS)
    for name in ("evaluations", "threads", "round_to"):
        check_count(name.replace("_", "-"), getattr(config, name))
    _check_confirm(config)
    if not config.agents:
        raise ConfigError(f"agents: expected at least one of {', '.join(registry.names())}")
    for agent in config.agents:
        registry.check_name(agent.name)
        if config.agents.count(agent) > 1:
            raise ConfigError(f"agents: {agent.label!r} is named twice; to repeat a search ask for more seeds")
    if list(config.looks) != sorted({look for look in config.looks if look > 0}):
        raise ConfigError(f"looks {list(config.looks)}: expected numbers of seeds that rise, as [5, 8, 12]")
    if config.looks and config.shard != "1/1":
        raise ConfigError(f"shard {config.shard}: looks are at all runs; expected no shard beside looks")
    for agent in config.agents if config.looks else ():
        seeds = config.all_seeds_of(agent.label)
        if len(seeds) < config.looks[0] or seeds != tuple(range(len(seeds))):
            raise ConfigError(
                f"seeds {sets.write(seeds)!r} of {agent.label}: expected the first {config.looks[0]} or more, which "
                "the first look is at"
            )
    if config.claims and not re.fullmatch("[0-9a-f]{64}", config.claims):
        raise ConfigError(f"claims {config.claims!r}: in a file of settings expected none; name it with --claims")
    if not config.runs():
        raise ConfigError(f"shard {config.shard!r}: none of the experiment's runs is in it: expected fewer shards")
    check_task(config.task)


def _check_budget(config: ExperimentConfig) -> None:
    check_choice("cost", config.cost, COSTS)
    if config.limit is None or config.preserve != _UNKNOWN:
        _check_number("preserve", config.preserve, "a fraction of the dense network's cost, above 0 and at most 1")
    if config.limit is not None and not 0 < config.limit < math.inf:
        raise ConfigError(f"limit {config.limit!r}: expected a number above 0, in {costs.named(config.cost).unit}")


def _check_confirm(config: ExperimentConfig) -> None:
    count = config.task.confirm
    if count == 1:
        raise ConfigError("confirm 1: expected 0, or 2 and more: one policy leaves nothing to choose")
    if count and config.reward != "accuracy":
        raise ConfigError(
            f"confirm {count}: what is confirmed is an accuracy; expected --reward accuracy, not {config.reward}"
        )
    if count >= config.evaluations:
        raise ConfigError(
            f"confirm {count}: expected less than the {config.evaluations} evaluations of a run, which it is a part of"
        )


def _check_number(name: str, value: float, expected: str) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and 0 < value <= 1):  # also true of NaN
        raise ConfigError(f"{name} {f'{value:g}' if number else repr(value)}: expected {expected}")


def default_folder(config: ExperimentConfig) -> Path:
    """Where an experiment goes unless the user says so: a folder of its own for every combination of settings.

    Its name spells out network, data, budget and length of search, and ends in a hash of whatever else is not default.
    """
    spoken = {
        "model": models.slug(config.task.model),
        "dataset": models.slug(config.task.dataset),
        "budget": config.budget,
    }
    budget = _short(config.preserve) if config.absolute is None else config.absolute.short
    spoken |= {"preserve": budget, "evaluations": str(config.evaluations)}
    default = _flat(ExperimentConfig())
    others = {k: v for k, v in sorted(_flat(config).items()) if k not in spoken and v != default[k]}
    digest = hashlib.sha256(json.dumps(others, default=str).encode()).hexdigest()[:6]
    return Path("results") / "-".join([*spoken.values(), *([digest] if others else [])])


def _short(value: float) -> str:
    """The number in as few digits as tell it from all others."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


PATHS = ("weights", "data")
"""The settings of a task that are paths."""


def relative_paths(config: ExperimentConfig) -> dict[str, str]:
    """Those of a task's paths that lead from the working folder, by the names of their settings."""
    paths = {name: getattr(config.task, name) for name in PATHS}
    return {name: path for name, path in paths.items() if path is not None and not os.path.isabs(path)}


def placed(path: str, origin: Path | None) -> str:
    """A path that led from ``origin``, as it leads from the working folder; as it is where nothing is there."""
    elsewhere = origin is not None and origin != Path.cwd() and (origin / path).exists()
    return str(origin / path) if origin is not None and elsewhere else path


def differences(
    old: ExperimentConfig, new: ExperimentConfig, origin: Path | None = None, *, adding: bool = False
) -> list[str]:
    """The settings that differ, as ``name is old value, not new value``. Seeds never do: more may be added any time.

    Args:
        old: of an experiment on disk.
        new: what is wanted; its relative paths lead from the working folder. It need not name all agents.
        origin: from where those of ``old`` lead; the working folder where None.
        adding: whether agents may be added, too.
    """
    before, after = _asked(old), _asked(new)
    changed = [name for name in before if before[name] != after[name]]
    changed = [name for name in changed if name not in PATHS or not _one_place(before[name], after[name], origin)]
    if adding or not added(old, new):
        changed = [name for name in changed if name != "agents"]
    return _told(before, after, changed)


def added(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """The labels of agents that are new."""
    known = {agent.label for agent in old.agents}
    return [agent.label for agent in new.agents if agent.label not in known]


def task_differences(first: ExperimentConfig, second: ExperimentConfig) -> list[str]:
    """The settings that decide numbers and differ: all but agents, seeds, and paths, of which hashes know more."""
    before, after = _flat(first), _flat(second)
    aside = ("agents", "shard", "looks", "claims", *PATHS)
    return _told(before, after, [name for name in before if name not in aside and before[name] != after[name]])


def _told(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [f"{name.replace('_', '-')} is {before[name]}, not {after[name]}" for name in names]


def _one_place(old: str | None, new: str | None, origin: Path | None) -> bool:
    return None not in (old, new) and os.path.realpath(placed(str(old), origin)) == os.path.realpath(str(new))


def _flat(config: ExperimentConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    values |= values.pop("task")
    values["agents"] = " ".join(sorted(agent.label for agent in config.agents))
    del values["seeds"], values["limit"]  # which a fraction stands for
    return values


def _asked(config: ExperimentConfig) -> dict[str, Any]:
    """As :func:`_flat`, the budget as it was asked for: its fraction of latency is another on every machine."""
    return _flat(config) | ({} if config.absolute is None else {"preserve": str(config.absolute)})


def to_yaml(config: ExperimentConfig, command: str, origin: Path | None = None) -> str:
    """The text of ``experiment.yaml``: the resolved configuration and the command that made it.

    Args:
        config: the configuration.
        command: the command.
        origin: the folder from which relative paths lead, where there are any and it is known.
    """
    experiment = dataclasses.asdict(config) | {"agents": [agent.to_plain() for agent in config.agents]}
    if isinstance(config.seeds, tuple):
        experiment["seeds"] = dict(config.seeds)
    if config.limit is None:
        del experiment["limit"]
    place = {} if origin is None else {"working_folder": str(origin)}
    content = {"schema": SCHEMA, "command": command, **place, "experiment": experiment}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> tuple[ExperimentConfig, str]:
    """The configuration and the command that :func:`to_yaml` wrote.

    Raises:
        StoreError: the file is not such a text, or another version's.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise StoreError(f"{path}: written in version {content['schema']} of the files; this is version {SCHEMA}")
        values = content["experiment"]
        task = TaskConfig(**_tuples(values.pop("task")))
        return ExperimentConfig(task=task, **_tuples(values)), str(content["command"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path} is not an experiment's configuration: {reason}") from error


def read_origin(path: Path) -> Path | None:
    """The folder from which relative paths lead in a file that :func:`read_yaml` takes; None where it does not say."""
    found = yaml.safe_load(path.read_text(encoding="utf-8")).get("working_folder")
    return None if found is None else Path(str(found))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """YAML has no tuples: lists are what was one."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}

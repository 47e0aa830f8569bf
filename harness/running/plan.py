"""Plans what a command runs: the experiments of a file of settings or of flags, each with its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.tasks.budgets import Limit
from prunebench.harness import seeds
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments import grid, gridfile
from prunebench.harness.experiments.execution import DEFAULT, Execution
from prunebench.harness.experiments.execution import FIELDS as execution_fields
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run


@dataclass(frozen=True)
class Plan:
    """What a command is to run.

    Attributes:
        experiments: one for every cell, each with its folder, in the order of the lists.
        execution: how their runs are executed.
        adding: whether agents may join experiments that do not have them.
    """

    experiments: list[Experiment]
    execution: Execution = DEFAULT
    adding: bool = False


def asked(file: Path | None, given: Mapping[str, Any]) -> Plan:
    """The experiments of a file and of options, as ``prunebench bench`` takes them; nothing is written.

    Args:
        file: of settings, or None where the options say it all.
        given: by field, what was named explicitly: as for :func:`plan` or :func:`extension`, and ``until_decided``,
            ``max_seeds``, ``claims`` (a file), ``add_agents``.

    Raises:
        ConfigError, StoreError, TaskError: whatever can be seen to be wrong with any of the experiments without
            reading weights or images; or its folder holds something else.
    """
    given = _with_claims(_with_looks(given))
    adding = given.pop("add_agents", False)
    if not adding:
        return plan(file, given)
    if file is not None:
        raise ConfigError(f"add-agents: the settings are those of the experiment in --out: leave out {str(file)!r}")
    return extension(given)


def _with_claims(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the hash of a file of claims in its place."""
    if "claims" not in given:
        return dict(given)
    from prunebench.harness.analysis import claims  # pandas takes a second

    path = Path(given["claims"])
    claims.read(path)
    return {**given, "claims": claims.sha256(path)}


def _with_looks(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the looks of an experiment that is to go on until it is decided, and the seeds of the first one."""
    rest = {name: value for name, value in given.items() if name not in ("until_decided", "max_seeds")}
    until, most = given.get("until_decided", False), given.get("max_seeds")
    if not until and most is not None:
        raise ConfigError(f"max-seeds {most}: expected --until-decided beside it, or --seeds in its place")
    if not until:
        return rest
    from prunebench.harness.analysis.statistics.welch import FEWEST  # SciPy takes half a second

    most = seeds.LOOKS[-1] if most is None else most
    for name in ("seeds", "shard", "add_agents"):
        if rest.get(name):
            raise ConfigError(
                f"until-decided: seeds are added by what all runs show; leave out --{name.replace('_', '-')}"
            )
    if most < FEWEST:
        raise ConfigError(f"max-seeds {most}: expected {FEWEST} or more, since fewer runs are not tested")
    looks = seeds.looks_up_to(most)
    return {**rest, "looks": looks, "seeds": looks[0]}


def plan(file: Path | None, given: Mapping[str, Any]) -> Plan:
    """The experiments of a file and of flags; nothing is written.

    Args:
        file: of settings, or None where the flags say it all.
        given: by field, what was named explicitly: it takes the place of what the file says. ``out`` and how to
            execute too.

    Raises:
        ConfigError, StoreError, TaskError: whatever can be seen to be wrong with any of the experiments without
            reading weights or images; or its folder holds something else.
    """
    settings = grid.overridden({} if file is None else gridfile.read(file), given)
    out = os.path.expanduser(settings.pop("out", None) or "") or None
    execution = Execution(**{name: settings.pop(name) for name in list(settings) if name in execution_fields})
    execution.check()
    cells = grid.expand(settings)
    for cell in cells:
        configs.check(cell)
    grid.check_distinct(cells)
    experiments = [_as_created(experiment) for experiment in _placed(cells, file, out)]
    for experiment in experiments:
        store.meet(experiment.folder, experiment.config)
    return Plan(experiments, execution)


def extension(given: Mapping[str, Any]) -> Plan:
    """More agents for the experiment in a folder; nothing is written.

    Args:
        given: by field, what was named: ``out``, the experiment's folder; ``agents``, which join it; ``seeds``, theirs
            (all that the experiment has, unless named); how to execute. Other settings can only be the experiment's.

    Raises:
        ConfigError, StoreError, TaskError: there is no such experiment, it is a shard, or a setting is another one.
    """
    for name, what in (("out", "the experiment's folder"), ("agents", "the agents to be added")):
        if not given.get(name):
            raise ConfigError(f"add-agents: expected --{name}, {what}")
    settings = {name: value for name, value in given.items() if name != "out"}
    if lists := [name for name in settings if isinstance(settings[name], list)]:
        raise ConfigError(f"add-agents: {', '.join(lists)}: the settings are those of the experiment in --out")
    execution = Execution(**{name: settings.pop(name) for name in list(settings) if name in execution_fields})
    execution.check()
    existing = store.load(Path(given["out"]))
    located = existing.located()
    every = {seed for agent in located.agents for seed in located.all_seeds_of(agent.label)}
    settings.setdefault("seeds", seeds.write(every))
    settings = _kept_budget(located, grid.one_budget(settings))
    task = replace(located.task, **{name: settings.pop(name) for name in list(settings) if name in grid.TASK})
    config = replace(located, task=task, **settings)
    configs.check(config)
    store.meet(existing.folder, config, adding=True)
    return Plan([Experiment(existing.folder, config)], execution, adding=True)


def _kept_budget(existing: ExperimentConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, an absolute budget among them as the configuration's fields: the existing one's fraction is kept."""
    budget = settings.get("preserve")
    if not isinstance(budget, Limit):
        return {**settings, **({"limit": None} if "preserve" in settings else {})}
    found = {"cost": budget.cost, "limit": budget.limit, "preserve": existing.preserve}
    return {**settings, **found}


def _placed(cells: Sequence[ExperimentConfig], file: Path | None, out: str | None) -> list[Experiment]:
    if len(cells) == 1:
        return [Experiment(configs.default_folder(cells[0]) if out is None else Path(out), cells[0])]
    if file is None and out is None:
        return [Experiment(configs.default_folder(cell), cell) for cell in cells]
    root = Path(out) if out is not None else Path("results") / Path(str(file)).stem
    if (root / store.NAME).is_file() or root.is_file():
        what = "holds an experiment" if root.is_dir() else "is a file"
        raise ConfigError(f"out {str(root)!r} {what}: a grid of {len(cells)} experiments needs a folder of its own")
    return [Experiment(root / configs.default_folder(cell).name, cell) for cell in cells]


def _as_created(wanted: Experiment) -> Experiment:
    """The experiment, without the controls that its folder's was created without."""
    if not (wanted.folder / store.NAME).is_file():
        return wanted
    return replace(wanted, config=configs.without_new_controls(store.load(wanted.folder).config, wanted.config))


def missing(experiment: Experiment) -> list[Run]:
    """The runs that an experiment still lacks, with the seeds that it has on disk already."""
    return [run for run in present(experiment).runs() if run.checked().state != "done"]


def present(experiment: Experiment) -> Experiment:
    """The experiment, with more runs where its folder has more. Whether agents may join was settled by the plan."""
    return store.meet(experiment.folder, experiment.config, adding=True) or experiment

"""Experiments as files: a file of settings, some of them lists, is an experiment for every combination."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from prunebench.envs.tasks import budgets
from prunebench.envs.tasks.budgets import Limit
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments import spoken
from prunebench.harness.experiments.config import ExperimentConfig

AXES = ("model", "preserve", "split_seed")
"""The settings that may be lists: the grid is their product."""

TASK = get_type_hints(TaskConfig)
"""The settings of a task and their types."""

Settings = dict[str, Any]
"""Checked settings by field; those of :data:`AXES` are lists, of ``model`` a list of a name and options of its own, of
``preserve`` of budgets: fractions, or :class:`prunebench.envs.tasks.budgets.Limit`."""

BUDGETS = ("preserve", *budgets.FORMS)
"""The settings that are a budget, of which one is given."""


def single(given: Mapping[str, Any]) -> ExperimentConfig:
    """The one experiment of flags or keywords alone.

    Raises:
        ConfigError, TaskError: a setting is wrong, or there are several experiments.
    """
    config = unchecked(given)
    configs.check(config)
    return config


def unchecked(given: Mapping[str, Any]) -> ExperimentConfig:
    """As :func:`single`, without looking whether there are such networks, data and agents."""
    cells = expand(overridden({}, given))
    if len(cells) > 1:
        raise ConfigError(f"{', '.join(AXES)}: expected one experiment, not {len(cells)}")
    return cells[0]


def expand(settings: Settings) -> list[ExperimentConfig]:
    """The product of the lists in :data:`AXES`: models outermost, split seeds innermost."""
    default = ExperimentConfig()
    axes: dict[str, list[Any]] = {
        "model": [(default.task.model, {})],
        "preserve": [default.preserve],
        "split_seed": [0],
    }
    axes |= {name: settings[name] for name in AXES if name in settings}
    task = {name: value for name, value in settings.items() if name in TASK and name not in AXES}
    rest = {name: value for name, value in settings.items() if name not in TASK and name not in AXES}
    return [
        ExperimentConfig(
            task=TaskConfig(**{**task, "split_seed": split_seed, **own, "model": model}),
            **(rest | _budget(budget, rest)),
        )
        for (model, own), budget, split_seed in itertools.product(*(axes[name] for name in AXES))
    ]


def _budget(budget: float | Limit, rest: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(budget, Limit):
        return {"preserve": budget}
    if rest.get("cost", budget.cost) != budget.cost:
        raise ConfigError(f"cost {rest['cost']!r}: a budget of {budget} limits {budget.cost}: expected no other cost")
    return {"cost": budget.cost, "limit": budget.limit}


def one_budget(given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Settings with the budget under ``preserve``, whichever way it was given.

    Raises:
        ConfigError: there are several.
    """
    named = [name for name in BUDGETS if name in given]
    if len(named) > 1:
        said = " and ".join(name.replace("_", "-") for name in named)
        raise ConfigError(f"{where}{said} are budgets both: expected one of {', '.join(BUDGETS).replace('_', '-')}")
    return {"preserve" if name in named else name: value for name, value in given.items()}


def overridden(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Settings with others in their place. A model of the file that is named there keeps its own options.

    Args:
        settings: of a file.
        given: by flags or keywords; of :data:`AXES` one value, or a list.
    """
    given = one_budget(given)
    given = {name: [value] if name in AXES and not isinstance(value, list) else value for name, value in given.items()}
    if any(isinstance(budget, Limit) for budget in given.get("preserve", ())):  # which says itself what it limits
        settings = {name: value for name, value in settings.items() if name != "cost"}
    result = settings | given
    models = settings.get("model", [])
    if "model" in given:
        named = [entry if isinstance(entry, tuple) else (entry, {}) for entry in given["model"]]
        models = [found for one in named for found in [entry for entry in models if entry[0] == one[0]] or [one]]
    if models:
        result["model"] = [
            (name, {key: value for key, value in own.items() if key not in given}) for name, own in models
        ]
    return result


def check_distinct(cells: Sequence[ExperimentConfig]) -> None:
    """Refuse an experiment that is there twice, and two whose default folders would be one."""
    folders: dict[str, ExperimentConfig] = {}
    for cell in cells:
        other = folders.setdefault(configs.default_folder(cell).name, cell)
        if other == cell and other is not cell:
            raise ConfigError(f"the grid has {spoken.cell(cell)} twice: expected every experiment once")
        if other is not cell:
            both = f"{spoken.cell(other)} and {spoken.cell(cell)}"
            raise ConfigError(f"{both} would share a folder: put them into two files")

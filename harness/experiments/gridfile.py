"""The files that describe experiments: settings by the flags' names, each checked against its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from prunebench.envs.data import datasets
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks import models
from prunebench.envs.tasks import budgets
from prunebench.envs.tasks.budgets import Limit
from prunebench.harness import seeds as sets
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import agent_options, agentspec, documents, execution, registry
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.grid import AXES, TASK, Settings, one_budget

_TYPES: dict[str, Any] = {
    **TASK,
    **{name: hint for name, hint in get_type_hints(ExperimentConfig).items() if name not in ("task", "limit")},
    **dict.fromkeys(budgets.FORMS, float | str),
    **execution.FIELDS,
    "out": str | None,
}
_WRITTEN = {"schema", "experiment"}  # keys of a file that the harness wrote


def read(path: Path) -> Settings:
    """The settings in a file: one that a user wrote, or an experiment's own ``experiment.yaml``.

    Raises:
        ConfigError, TaskError: a key is unknown, or a value of the wrong type.
        StoreError: it is another version's.
    """
    content = documents.read(path, "experiment file")
    if not isinstance(content, dict):
        raise ConfigError(f"experiment file {str(path)!r}: expected settings, as `model: mobilenetv2`")
    controls = True
    if set(content) >= _WRITTEN:
        configs.read_yaml(path)
        task, origin = content["experiment"]["task"], configs.read_origin(path)
        task |= {name: configs.placed(task[name], origin) for name in configs.PATHS if isinstance(task.get(name), str)}
        content = _as_asked({key: value for key, value in content["experiment"].items() if key != "task"} | task)
        controls = False  # the experiment says itself which agents it has
    settings = _checked(content, _TYPES, f"{path}:")
    if controls and settings.get("agents"):
        settings["agents"] = configs.with_controls(settings["agents"])
    return settings


def keywords(given: Mapping[str, Any], where: str) -> Settings:
    """Settings as they are given from Python: paths, functions and classes, tuples too.

    Args:
        given: by their names.
        where: they are given, for errors.

    Raises:
        ConfigError, TaskError: a name is unknown, a value of the wrong type, or a function or class one that no
            process can import.
    """
    return _checked({name: _plain(name, value) for name, value in given.items()}, _TYPES, where)


def _plain(name: str, value: Any) -> Any:
    """A value as a file would have it."""
    if isinstance(value, tuple | list):
        return [_plain(name, item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if name == "model":
        return models.named(value)
    name_of = _NAMES.get(name)
    return name_of(value) if name_of is not None and callable(value) else value


_NAMES: dict[str, Callable[..., str]] = {"dataset": datasets.name_of, "agents": registry.name_of}


def _as_asked(experiment: dict[str, Any]) -> dict[str, Any]:
    """An experiment's own settings, with an absolute budget in place of what it turned out to be."""
    limit = experiment.pop("limit", None)
    if limit is None:
        return experiment
    name, value = Limit(experiment["cost"], limit).option
    return {key: value for key, value in experiment.items() if key != "preserve"} | {name: value}


def _checked(content: Mapping[Any, Any], types: Mapping[str, Any], where: str) -> Settings:
    settings: Settings = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        check_choice(f"{where} key", name, types)
        if name in settings:
            raise ConfigError(f"{where} {name} is given twice")
        if name in (*AXES, *budgets.FORMS) and types is _TYPES:
            settings[name] = _axis(name, value, where)
        else:
            fit = _FITS.get(name)
            settings[name] = _fitted(name, value, types[name], where) if fit is None else fit(value, where)
    return one_budget(settings, f"{where} ") if types is _TYPES else settings


def _axis(name: str, value: Any, where: str) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ConfigError(f"{where} {name} []: expected at least one value")
    if name == "model":
        return [_model(item, where) for item in values]
    if name in budgets.FORMS:
        return [_limit(name, item, where) for item in values]
    return [_fitted(name, item, _TYPES[name], where) for item in values]


def _limit(name: str, item: Any, where: str) -> Limit:
    try:
        return budgets.read(name, item)
    except TaskError as error:
        raise ConfigError(f"{where} {error}") from None


def _model(item: Any, where: str) -> tuple[str, Settings]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        ((name, own),) = item.items()
        if isinstance(name, str) and isinstance(own or {}, dict):
            types = {key: hint for key, hint in TASK.items() if key != "model"}
            return name, _checked(own or {}, types, f"{where} model {name!r}:")
    raise ConfigError(f"{where} model {item!r}: expected a network's name, or its name and a mapping of its options")


def _agents(value: Any, where: str) -> tuple[AgentSpec, ...]:
    if isinstance(value, str):
        return tuple(agentspec.parse(value))
    if not isinstance(value, list):
        raise ConfigError(
            f"{where} agents {value!r}: expected a list of names, or of names with a mapping of options each"
        )
    return tuple(map(AgentSpec.from_plain, value))


def _seeds(value: Any, where: str) -> Any:
    """Those of all agents, or a mapping from each label to its own."""
    try:
        for own in value.values() if isinstance(value, dict) else [value]:
            sets.parse(own)
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from error
    return value


_FITS = {"agents": _agents, "seeds": _seeds}


def _fitted(name: str, value: Any, annotation: Any, where: str) -> Any:
    try:
        return agent_options.fitted(value, annotation)
    except agent_options.UnfitError as error:
        scalar = isinstance(value, list) and "tuple" not in str(annotation)
        only = f"; only {', '.join(AXES)} may be lists" if scalar else ""
        raise ConfigError(f"{where} {name} {value!r}: {error}{only}") from error

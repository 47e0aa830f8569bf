"""Experiments as files: a file of settings, some of them lists, is an experiment for every combination."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.task import TaskConfig
from harness import config as configs
from harness import gridfile, store
from harness.config import ExperimentConfig
from harness.errors import ConfigError
from harness.execution import DEFAULT, Execution
from harness.execution import FIELDS as execution_fields
from harness.gridfile import AXES, TASK, Settings
from harness.store import Experiment

_NAME = "experiment.yaml"


@dataclass(frozen=True)
class Plan:
    """What a command is to run.

    Attributes:
        experiments: one for every cell, each with its folder, in the order of the lists.
        execution: how their runs are executed.
    """

    experiments: list[Experiment]
    execution: Execution = DEFAULT


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
    settings = _overridden({} if file is None else gridfile.read(file), given)
    out = settings.pop("out", None)
    execution = Execution(**{name: settings.pop(name) for name in list(settings) if name in execution_fields})
    execution.check()
    cells = expand(settings)
    for cell in cells:
        configs.check(cell)
    _check_distinct(cells)
    experiments = _placed(cells, file, out)
    for experiment in experiments:
        store.meet(experiment.folder, experiment.config)
    return Plan(experiments, execution)


def single(given: Mapping[str, Any]) -> ExperimentConfig:
    """The one experiment of flags alone.

    Raises:
        ConfigError, TaskError: a setting is wrong.
    """
    (config,) = expand(_overridden({}, given))
    configs.check(config)
    return config


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
            task=TaskConfig(**{**task, "split_seed": split_seed, **own, "model": model}), preserve=preserve, **rest
        )
        for (model, own), preserve, split_seed in itertools.product(*(axes[name] for name in AXES))
    ]


def _overridden(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Settings with those of the flags in their place. A model of the file that a flag names keeps its own options."""
    result = settings | {name: [value] if name in AXES else value for name, value in given.items()}
    models = settings.get("model", [])
    if "model" in given:
        models = [entry for entry in models if entry[0] == given["model"]] or [(given["model"], {})]
    if models:
        result["model"] = [
            (name, {key: value for key, value in own.items() if key not in given}) for name, own in models
        ]
    return result


def _check_distinct(cells: Sequence[ExperimentConfig]) -> None:
    """Refuse an experiment that is there twice, and two whose default folders would be one."""
    folders: dict[str, ExperimentConfig] = {}
    for cell in cells:
        other = folders.setdefault(configs.default_folder(cell).name, cell)
        if other == cell and other is not cell:
            raise ConfigError(f"the grid has {spoken(cell)} twice: expected every experiment once")
        if other is not cell:
            raise ConfigError(f"{spoken(other)} and {spoken(cell)} would share a folder: put them into two files")


def spoken(config: ExperimentConfig) -> str:
    """A cell of a grid in a few words."""
    task = config.task
    return (
        f"{task.model} on {task.dataset}, preserve {config.preserve:g} of {config.cost}, split seed {task.split_seed}"
    )


def _placed(cells: Sequence[ExperimentConfig], file: Path | None, out: str | None) -> list[Experiment]:
    if len(cells) == 1:
        return [Experiment(configs.default_folder(cells[0]) if out is None else Path(out), cells[0])]
    assert file is not None  # flags alone are one experiment
    root = Path("results") / file.stem if out is None else Path(out)
    if (root / _NAME).is_file() or root.is_file():
        what = "holds an experiment" if root.is_dir() else "is a file"
        raise ConfigError(f"out {str(root)!r} {what}: a grid of {len(cells)} experiments needs a folder of its own")
    return [Experiment(root / configs.default_folder(cell).name, cell) for cell in cells]


def missing(experiment: Experiment) -> list[store.Run]:
    """The runs that an experiment still lacks, with the seeds that it has on disk already."""
    return [run for run in present(experiment).runs() if run.checked()["status"] != "done"]


def present(experiment: Experiment) -> Experiment:
    """The experiment, with more seeds where its folder has more."""
    return store.meet(experiment.folder, experiment.config) or experiment


def find(folders: Sequence[str | Path] = ()) -> list[Experiment]:
    """The experiments in folders, at any depth, in the order of their paths.

    Args:
        folders: each an experiment's, or one that holds some; none is the newest experiment under ``results/``.

    Raises:
        ConfigError: there is none in one of the folders.
        StoreError: an experiment's configuration is damaged.
    """
    if not folders:
        return [store.load(_newest())]
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        below = sorted(_below(folder))
        if not below:
            raise ConfigError(f"folder {str(folder)!r} holds no experiment (no {_NAME}){_hint(folder)}")
        found |= {path.resolve(): path for path in below}
    return [store.load(path) for path in sorted(found.values())]


def _below(folder: Path) -> Iterator[Path]:
    """The folders with an experiment; none is looked for inside of another."""
    for path, inner, files in os.walk(folder):
        if _NAME in files:
            yield Path(path)
            inner.clear()


def _newest() -> Path:
    found = {path: path / "manifest.json" for path in _below(Path("results"))}
    begun = [path for path, manifest in found.items() if manifest.is_file()]
    if not begun:
        raise ConfigError("no experiment under 'results': name the folder of one, or begin one with `prunebench bench`")
    return max(begun, key=lambda path: found[path].stat().st_mtime)


def _hint(folder: Path) -> str:
    here = sorted(map(str, _below(Path("results"))))
    near = difflib.get_close_matches(str(folder), here, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; experiments here: {', '.join(here)}" if here else ""

"""Prunes what a caller in Python has in hand: a live network, arrays, or names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.errors import check_choice
from prunebench.envs.tasks.task import load_data
from prunebench.harness.display import display
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import grid, gridfile
from prunebench.harness.prune import steps, summary_page
from prunebench.harness.prune.given import Given
from prunebench.harness.record import store
from prunebench.harness.settings import AgentLike, PruneSettings

if TYPE_CHECKING:
    from torch import nn

    from prunebench.harness.prune.result import Pruned

_AS_IT_IS = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
"""How arrays are normalised unless the caller says so: not at all, pixels go from 0 to 1."""


def prune(
    model: str | nn.Module,
    data: Any,
    budget: Mapping[str, Any],
    *,
    agent: AgentLike,
    evaluations: int,
    epochs: float | None,
    threads: int,
    out: Path | None,
    settings: Mapping[str, Any],
) -> Pruned:
    """Prune a network; see :func:`prunebench.harness.api.prune`."""
    for name in settings:
        check_choice("setting", name, PruneSettings.__annotations__)
    if not isinstance(model, str) and "weights" in settings:
        raise ConfigError(f"weights {str(settings['weights'])!r}: a live network has its own: leave weights out")
    if epochs is not None and not isinstance(epochs, int | float):
        raise ConfigError(f"epochs {epochs!r}: expected a number")
    settings = {("data" if name == "folder" else name): value for name, value in settings.items()}
    settings |= {name: value for name, value in budget.items() if value is not None}
    settings |= {"agents": agent if isinstance(agent, str) else [agent], "evaluations": evaluations, "threads": threads}
    known = gridfile.keywords(steps.DEFAULTS | settings, "prune:") | {"seeds": 1}
    given = Given(model, data, known.get("mean"), known.get("std"))
    known = {**({} if isinstance(data, str) else _AS_IT_IS), **known}
    folder = out or _named(model, data, given, known)
    place = folder / store.GIVEN
    known |= {"model": model, "dataset": data} | given.names(place)
    return _pruned(given, place, folder, known, epochs)


def _named(model: Any, data: Any, given: Given, known: Mapping[str, Any]) -> Path:
    """The default folder; of what was handed over under the name of what it is."""
    names = {"model": model, "dataset": data} | given.names(Path())
    return steps.default_folder(grid.unchecked({**known, **names, "weights": known.get("weights")}))


def _pruned(given: Given, place: Path, folder: Path, known: dict[str, Any], epochs: float | None) -> Pruned:
    config = grid.unchecked(known)
    store.meet(folder, config)  # before anything is written into what another call has left
    there, placed = folder.exists(), place.exists()
    try:
        if given.files:
            given.write(place)
            store.make_given_importable(folder, config)
        config = grid.single(known)
        given.check(load_data(config.task).image_size)
        with display() as shown:
            return steps.prune(
                config,
                folder,
                epochs=epochs,
                command="prunebench.prune(...)",
                display=shown,
                page=summary_page.write,
            )
    except BaseException:
        if given.files and not placed and not (folder / store.NAME).is_file():  # nothing is left of what was not begun
            shutil.rmtree(place, ignore_errors=True)
            if not there and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise

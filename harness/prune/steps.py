"""Prunes one network: search, fine-tuning, export and timing, report. What is done is not done again."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from prunebench.envs import extras
from prunebench.envs.data import datasets
from prunebench.envs.files import remove_drafts
from prunebench.harness.errors import ConfigError, HarnessError, UnmetError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import FinetuneSettings
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.prune.result import NETWORK, Pruned, read
from prunebench.harness.running.bench import bench
from prunebench.harness.running.export import choose, export
from prunebench.harness.running.finetune import finetune

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.store import Experiment

EXPORT = "prunebench.harness.inside.export:export_and_time"
DEFAULTS = {"round_to": 8}
"""Settings whose default is another one here: what is pruned to be used is to be fast, too."""


def default_folder(config: ExperimentConfig) -> Path:
    """Where everything goes unless the user says so."""
    folder = configs.default_folder(config)
    return folder.with_name(f"prune-{folder.name}")


def prune(
    config: ExperimentConfig,
    folder: Path,
    *,
    epochs: float | None,
    command: str,
    display: Display,
    page: Callable[[Pruned], object],
) -> Pruned:
    """Prune a network to a budget.

    Args:
        config: one agent, one seed.
        folder: of the search and of all else.
        epochs: of fine-tuning; None is a quarter of the dense network's, 0 none at all.
        command: as it was typed.
        display: shows progress.
        page: writes the page, at the end.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it.
        UnmetError: the search or the fine-tuning failed, or no network is as fast.
        JobCrash: another step failed.
    """
    extras.check("the export to ONNX", "export")
    if epochs is not None and not 0 <= epochs < math.inf:
        raise ConfigError(f"epochs {epochs:g}: expected a positive number, or 0 for no fine-tuning")
    _check_single(config)
    if epochs != 0:
        _check_trained_on(config.task.dataset)
    experiment = _searched(config, folder, command, display)
    _check_epochs(experiment, epochs)
    if epochs != 0:
        tuned = finetune(experiment, FinetuneSettings(epochs), jobs=1, display=display, instead="another --out")
        _check(tuned.failed, "fine-tuning")
    fresh = folder / f"{NETWORK}.new"
    shutil.rmtree(fresh, ignore_errors=True)  # of a call that was killed, and so are drafts
    remove_drafts(folder)
    if not _exported(experiment):
        export(experiment, out=fresh, display=display, work=EXPORT)
        shutil.rmtree(folder / NETWORK, ignore_errors=True)  # only now: there is another
        fresh.replace(folder / NETWORK)
    pruned = read(folder)
    page(pruned)
    return pruned


def _check_single(config: ExperimentConfig) -> None:
    if len(config.agents) > 1:
        raise ConfigError(f"agent {' '.join(agent.label for agent in config.agents)!r}: expected one")


def _check_epochs(experiment: Experiment, epochs: float | None) -> None:
    tuned = choose(experiment, None, None).finetuned()
    if tuned is not None and tuned.state != "failed" and epochs not in (None, tuned.settings["epochs"]):
        raise ConfigError(
            f"epochs {epochs:g}: the network in {str(experiment.folder)!r} was fine-tuned with epochs "
            f"{tuned.settings['epochs']:g}: name these again, or another --out"
        )


def _check_trained_on(dataset: str) -> None:
    if not resolve_name(datasets.known(dataset).source).epochs:
        raise ConfigError(f"dataset {dataset!r} is not trained on: expected --epochs 0, which leaves fine-tuning out")


def _searched(config: ExperimentConfig, folder: Path, command: str, display: Display) -> Experiment:
    session = bench(config, folder, execution=Execution(jobs=1), command=command, display=display)
    runs = {run.name for run in session.experiment.runs()}
    _check({name: why for name, why in session.failed.items() if name in runs}, "the search")  # the export times anew
    return session.experiment


def _check(failed: dict[str, str], what: str) -> None:
    for why in failed.values():
        raise UnmetError(f"{what} failed: {why}")


def _exported(experiment: Experiment) -> bool:
    """Whether the network that search and fine-tuning have left is exported already."""
    try:
        pruned = read(experiment.folder)
    except HarnessError:
        return False
    run = choose(experiment, None, None)
    tuned, origin = run.finetuned(), pruned.facts["origin"]
    found = (origin["agent"], origin["seed"], origin["evaluation"], origin["finetuning"])
    settings = tuned.settings if tuned is not None and tuned.state == "done" else None
    there = "onnxruntime" in pruned.facts and all(pruned.paths[what].is_file() for what in ("onnx", "weights"))
    return there and found == (run.agent, run.seed, run.status().incumbent, settings)

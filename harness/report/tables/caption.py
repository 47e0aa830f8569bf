"""Captions and footnotes of a table: what was measured and how, and what is missing from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.stats import binom

from prunebench.envs.environment.channel_pruning import COUNTED
from prunebench.envs.tasks import costs
from prunebench.harness.experiments import spoken
from prunebench.harness.record import manifest

if TYPE_CHECKING:
    from prunebench.envs.tasks.task import TaskConfig
    from prunebench.harness.analysis.frames import Reading
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.store import Experiment

_SIGNIFICANT = 0.05


def headline(experiments: Sequence[Experiment]) -> str:
    """What a table shows, in one sentence."""
    configs = [experiment.config for experiment in experiments]
    tasks = list(dict.fromkeys(map(spoken.comparison, configs)))
    return f"Auto-pruning agents on {_and(tasks)}: {_and(spoken.efforts(configs))}."


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def protocol(readings: Sequence[Reading]) -> str:
    """What was measured and how, in one paragraph: the tasks, then what they have in common."""
    tasks = " ".join(f"{_task(reading)}." for reading in readings)
    rules = list(dict.fromkeys(_rules(reading) for reading in readings))
    return f"{tasks} {' '.join(rules)}"


def _task(reading: Reading) -> str:
    config, task = reading.experiment.config, reading.manifest["task"]
    shown = (name for name in ("calibration", "reward", "confirm", "test") if name in task["splits"])
    splits = ", ".join(f"{task['splits'][name]} {name}" for name in shown)
    limited, *others = (
        f"{cost.dense(task):,} {cost.unit}" for cost in map(costs.named, dict.fromkeys((config.cost, *COUNTED)))
    )
    seen = "; the reward split is cut from training images: the weights may have seen the reward images"
    maybe = seen if task.get("reward_maybe_seen") else ""  # older experiments do not say
    if task.get("confirm_maybe_seen"):
        maybe += "; the confirm split is cut from training images, which the weights may have seen"
    return (
        f"{config.task.model} on {config.task.dataset}: at most {_budget(config)} of the dense network's "
        f"{limited} ({', '.join(others)}); images: {splits} (split seed {config.task.split_seed}){maybe}"
    )


def _budget(config: ExperimentConfig) -> str:
    if config.absolute is None:
        return f"{100 * config.preserve:g} %"
    return f"{config.absolute}, {100 * config.preserve:.3g} %"


def warning(readings: Sequence[Reading]) -> str:
    """That dense networks are no better than chance, in one line; empty where all are better, or nothing says so."""
    several = len(readings) > 1
    found = [f"{reading.name}: {said}" if several else said for reading in readings if (said := _chance(reading))]
    return f"Warning: {'; '.join(found)}; check weights, normalisation and order of classes" if found else ""


def _chance(reading: Reading) -> str:
    """What to say of a dense network that is not better than always saying the most frequent class.

    Better is what such a network would reach on the reward split with a probability of less than 5 % (binomial).
    """
    task = reading.manifest["task"]
    chance, images, accuracy = task.get("chance"), task["splits"]["reward"], task["dense"]["reward_accuracy"]
    if chance is None or binom.sf(round(accuracy * images) - 1, images, chance) < _SIGNIFICANT:
        return ""
    return (
        f"the dense network is at the level of chance: {100 * accuracy:.1f} % of {images} reward images right, "
        f"{100 * chance:.1f} % are of one class"
    )


def _rules(reading: Reading) -> str:
    config, content = reading.experiment.config, reading.manifest
    jobs = " or ".join(sorted({_jobs(session["jobs"]) for session in content["sessions"]}))
    machines = dict.fromkeys(_machine(session["machine"]) for session in content["sessions"])
    return (
        f"Budget mode {config.budget}, {spoken.bounds(config)}, {_pruning(config.task)}, reward "
        f"{config.reward}; {spoken.evaluations(config)}, {spoken.seeds(config)}. "
        f"Mean ± standard deviation and variance (n - 1) over the runs that are done, each counting with its incumbent "
        f"on the reward split. Latency is measured on whole networks of the incumbents when all runs have ended. "
        f"{config.threads} thread(s) per run, {jobs}, {' and '.join(machines)}."
    )


def _jobs(jobs: int | None) -> str:
    return "on a Ray cluster" if jobs is None else f"{jobs} run(s) at a time"


def _machine(machine: dict[str, Any]) -> str:
    return f"{machine.get('processor', 'unknown processor')}, {machine['cores']} cores"


def _pruning(task: TaskConfig) -> str:
    return spoken.pruning(task) + (f", device {task.device}" if task.device != "cpu" else "")


def missing(reading: Reading, runs: pd.DataFrame) -> list[str]:
    """A line for every run that a table leaves out, or that calls for a remark."""
    changed = manifest.changes(reading.manifest)
    remarks = [f"made in several sessions that differ in: {', '.join(changed)} (see manifest.json)"] if changed else []
    if len(versions := manifest.own_versions(reading.manifest)) > 1:
        remarks.append(
            f"made by versions {_and(versions)} of prunebench: an agent of one name may be another algorithm in each"
        )
    for row in runs.to_dict("records"):
        name = f"{row['agent']} seed {row['seed']}"
        if row["status"] == "damaged":
            remarks.append(f"{name}: left out, its files are damaged: {row['error']}")
        elif row["status"] in ("failed", "timeout"):
            remarks.append(f"{name}: {row['status']} after {row['evaluations']} evaluations: {row['error']}")
        elif row["status"] != "done":
            asked = reading.experiment.config.search_evaluations
            remarks.append(f"{name}: unfinished, {row['evaluations']} of {asked} evaluations")
        elif pd.isna(row["incumbent"]):
            remarks.append(f"{name}: no evaluation met the budget")
        if row["remarks"]:
            remarks.append(f"{name}: {row['remarks']}")
        if row["nondeterministic"]:
            remarks.append(
                f"{name}: nondeterministic (a replay differed, {row['nondeterministic']} times; begun afresh)"
            )
    return remarks

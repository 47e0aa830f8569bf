"""From the files on disk to data frames: a row per run, a row per evaluation, a row per agent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd

from prunebench.harness.errors import ConfigError, plain_line
from prunebench.harness.experiments import spoken
from prunebench.harness.experiments.config import differences
from prunebench.harness.record.journal import Line, incumbent
from prunebench.harness.record.run import Run
from prunebench.harness.record.status import TestScore
from prunebench.harness.record.store import Experiment

_EVALUATION = ("reconstruction", "forward", "environment")


def runs_frame(experiment: Experiment) -> pd.DataFrame:
    """A row per run that was asked for, done or not, in the order of the configuration.

    Columns: agent, seed, status, attempts, nondeterministic (replays that failed), evaluations, and of the incumbent
    incumbent (index), reward_accuracy, test_accuracy and finetuned_accuracy (%, on
    the test split after fine-tuning), reward_loss (nats), macs, parameters, macs_kept,
    parameters_kept and latency_kept (% of the dense network's), latency_ms (per image); seconds, agent_seconds,
    evaluation_seconds and the latter's parts reconstruction_seconds, forward_seconds, environment_seconds;
    remarks (what had to be mended, and the agent's own), error. What is not known is NaN or None.
    """
    dense = experiment.manifest()["task"]["dense"]
    runs = (
        experiment.run(agent.label, seed)
        for agent in experiment.config.agents
        for seed in range(experiment.config.seeds)
    )
    return pd.DataFrame([_row(run, dense) for run in runs])


def joined(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """The rows of :func:`runs_frame` of several experiments.

    With columns task (its name of :func:`prunebench.harness.experiments.spoken.names`), split_seed, and setting (the
    task but for its split).

    Raises:
        ConfigError: two experiments hold the same runs: counted twice they would pass for more seeds.
    """
    _check_distinct(experiments)
    configs = [experiment.config for experiment in experiments]
    settings = spoken.names([replace(config, task=replace(config.task, split_seed=0)) for config in configs], same=True)
    return pd.concat(
        [
            runs_frame(experiment).assign(task=name, split_seed=experiment.config.task.split_seed, setting=setting)
            for name, setting, experiment in zip(spoken.names(configs), settings, experiments, strict=True)
        ],
        ignore_index=True,
    )


def _check_distinct(experiments: Sequence[Experiment]) -> None:
    for first, second in combinations(experiments, 2):
        theirs = replace(second.config, agents=first.config.agents)
        shared = [agent.label for agent in first.config.agents if agent in second.config.agents]
        if shared and not differences(first.config, theirs):
            raise ConfigError(
                f"{str(first.folder)!r} and {str(second.folder)!r} hold the same runs ({', '.join(shared)}): expected "
                "each experiment once"
            )


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per agent over its runs that are done; standard deviation and variance are of the sample (n - 1).

    Args:
        runs: from :func:`runs_frame`.

    Returns:
        Columns agent, seeds_done, seeds_asked, evaluations, reward_accuracy_mean, _std (%) and _variance (%^2),
        test_accuracy_mean, _std (%), finetuned_accuracy_mean, _std (%), finetuned_runs, macs_kept, parameters_kept,
        latency_kept (%),
        seconds_mean, seconds_std, agent_seconds, evaluation_seconds. NaN where there is nothing to compute it from.
    """
    done = runs[runs["status"] == "done"].groupby("agent")
    table = done.agg(
        seeds_done=("seed", "size"),
        evaluations=("evaluations", "mean"),
        reward_accuracy_mean=("reward_accuracy", "mean"),
        reward_accuracy_std=("reward_accuracy", "std"),
        reward_accuracy_variance=("reward_accuracy", "var"),
        test_accuracy_mean=("test_accuracy", "mean"),
        test_accuracy_std=("test_accuracy", "std"),
        finetuned_accuracy_mean=("finetuned_accuracy", "mean"),
        finetuned_accuracy_std=("finetuned_accuracy", "std"),
        finetuned_runs=("finetuned_accuracy", "count"),
        macs_kept=("macs_kept", "mean"),
        parameters_kept=("parameters_kept", "mean"),
        latency_kept=("latency_kept", "mean"),
        seconds_mean=("seconds", "mean"),
        seconds_std=("seconds", "std"),
        agent_seconds=("agent_seconds", "mean"),
        evaluation_seconds=("evaluation_seconds", "mean"),
    ).reindex(runs["agent"].unique())
    table.insert(1, "seeds_asked", runs.groupby("agent")["seed"].size())
    table = table.fillna({"seeds_done": 0, "finetuned_runs": 0})
    # Whole numbers stay whole beside a missing value.
    table = table.astype(dict.fromkeys(("seeds_done", "seeds_asked", "finetuned_runs"), "Int64"))
    return table.rename_axis("agent").reset_index()


def dense_row(experiment: Experiment) -> dict[str, Any]:
    """The dense network in the columns of :func:`summary`."""
    dense = experiment.manifest()["task"]["dense"]
    return {
        "agent": "dense",
        "reward_accuracy_mean": 100 * dense["reward_accuracy"],
        "test_accuracy_mean": 100 * dense["test_accuracy"],
        "macs_kept": 100.0,
        "parameters_kept": 100.0,
        "latency_kept": 100.0,
    }


def evaluations_frame(experiment: Experiment) -> pd.DataFrame:
    """A row per recorded evaluation of every run, in the order of the configuration, then of the search.

    Columns: agent, seed, index, accuracy (%, on the reward split), loss (nats), macs_kept, parameters_kept (% of the
    dense network's), cost_kept (%, of what is limited), feasible, probe, seconds (spent since the evaluation before),
    elapsed and agent_elapsed (s, of the search so far, and of it the agent's own), incumbent (%, the best feasible
    accuracy so far; NaN while there is none).
    """
    dense = experiment.manifest()["task"]["dense"]
    rows = []
    for agent in experiment.config.agents:
        for seed in range(experiment.config.seeds):
            run = experiment.run(agent.label, seed)
            if run.checked().state == "damaged":
                continue
            rows += [{"agent": run.agent, "seed": seed} | row for row in _evaluations(run.lines(), dense)]
    return pd.DataFrame(rows, columns=["agent", "seed", *_EVALUATION_COLUMNS])


_EVALUATION_COLUMNS = (
    *("index", "accuracy", "loss", "macs_kept", "parameters_kept", "cost_kept", "feasible", "probe"),
    *("seconds", "elapsed", "agent_elapsed", "incumbent"),
)


def _evaluations(lines: list[Line], dense: dict[str, Any]) -> Iterator[dict[str, Any]]:
    elapsed, thought, best = 0.0, 0.0, -math.inf
    for line in lines:
        seconds = line.seconds.total
        elapsed += seconds
        thought += line.seconds.agent
        if line.feasible:
            best = max(best, 100 * line.accuracy)
        yield {
            "index": line.index,
            "accuracy": 100 * line.accuracy,
            "loss": line.loss,
            "macs_kept": 100 * line.macs / dense["macs"],
            "parameters_kept": 100 * line.parameters / dense["parameters"],
            "cost_kept": 100 * line.cost,
            "feasible": line.feasible,
            "probe": line.probe,
            "seconds": seconds,
            "elapsed": elapsed,
            "agent_elapsed": thought,
            "incumbent": best if math.isfinite(best) else math.nan,
        }


def _row(run: Run, dense: dict[str, Any]) -> dict[str, Any]:
    status = run.checked()
    lines = [] if status.state == "damaged" else run.lines()
    best = incumbent(lines)
    test, latency, tuned = status.test, status.latency, _finetuned(run)
    return {
        "agent": run.agent,
        "seed": run.seed,
        "status": status.state,
        "attempts": status.attempts,
        "nondeterministic": len(status.nondeterministic),
        "evaluations": len(lines),
        "incumbent": best.index if best else None,
        "reward_accuracy": 100 * best.accuracy if best else None,
        "reward_loss": best.loss if best else None,
        "test_accuracy": 100 * test.accuracy if test else None,
        "finetuned_accuracy": 100 * tuned.accuracy if tuned else None,
        "macs": best.macs if best else None,
        "parameters": best.parameters if best else None,
        "macs_kept": 100 * best.macs / dense["macs"] if best else None,
        "parameters_kept": 100 * best.parameters / dense["parameters"] if best else None,
        "latency_ms": 1e3 * latency.seconds / latency.images if latency else None,
        "latency_kept": 100 * latency.seconds / latency.dense_seconds if latency else None,
        **_seconds(lines, status.seconds.get("closing", 0.0)),
        "remarks": "; ".join(filter(None, [*status.notices, _remarks(status.notes or {})])),
        "error": str(status.error) if status.error else None,
    }


def _finetuned(run: Run) -> TestScore | None:
    found = run.finetuned()
    return found.test if found and found.state == "done" else None


def _remarks(notes: dict[str, Any]) -> str:
    """What an agent wants to stand under the table: a sentence, or a list of them."""
    remarks = notes.get("remarks", [])
    return plain_line("; ".join(map(str, remarks if isinstance(remarks, list) else [remarks])))


def _seconds(lines: list[Line], closing: float) -> dict[str, float]:
    parts = {name: sum(getattr(line.seconds, name) for line in lines) for name in ("agent", *_EVALUATION)}
    agent = parts.pop("agent") + closing
    evaluation = sum(parts.values())
    return {
        "seconds": agent + evaluation,
        "agent_seconds": agent,
        "evaluation_seconds": evaluation,
        **{f"{name}_seconds": value for name, value in parts.items()},
    }

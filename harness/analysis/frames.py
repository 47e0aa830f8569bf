"""From the files on disk, each read once, to data frames: a row per run, per evaluation, per agent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.harness.errors import plain_line
from prunebench.harness.record.journal import Line, incumbent, rank

if TYPE_CHECKING:
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status, TestScore
    from prunebench.harness.record.store import Experiment

_EVALUATION = ("reconstruction", "forward", "environment")
_EVALUATION_COLUMNS = (
    *("index", "accuracy", "loss", "macs_kept", "parameters_kept", "cost_kept", "feasible", "probe"),
    *("seconds", "elapsed", "agent_elapsed", "incumbent"),
)


class Recorded(NamedTuple):
    """What is on disk of a run."""

    run: Run
    status: Status
    lines: list[Line]

    @property
    def incumbent(self) -> Line | None:
        """By the confirmed policies too where the run is done: until then some of these may be missing."""
        return incumbent(self.lines, self.status.confirmed if self.status.state == "done" else ())


class Reading:
    """An experiment as it is on disk: every file is read once, when it is first needed.

    Attributes:
        experiment: finished or not.
        name: of its task, see :func:`prunebench.harness.experiments.spoken.names`.
        setting: the same but for the split.
    """

    def __init__(self, experiment: Experiment, name: str = "", setting: str = "") -> None:
        self.experiment, self.name, self.setting = experiment, name, setting

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest; raises DamagedError where there is none, or a damaged one."""
        return self.experiment.manifest()

    @cached_property
    def records(self) -> list[Recorded]:
        """Every run that was asked for, done or not, in the order of the configuration."""
        config = self.experiment.config
        asked = [(agent.label, seed) for agent in config.agents for seed in config.seeds_of(agent.label)]
        return [Recorded(run, *run.read()) for run in (self.experiment.run(*which) for which in asked)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run that was asked for, done or not, in the order of the configuration.

        Columns: agent, seed, status, attempts, nondeterministic (replays that failed), evaluations, distinct (those
        that repeat no other of the run), and of the incumbent incumbent (index), reward_accuracy, test_accuracy and
        finetuned_accuracy (%, on the test split after fine-tuning), reward_loss (nats), macs, parameters, macs_kept,
        parameters_kept and latency_kept (% of the dense network's), latency_ms (per image); seconds, agent_seconds,
        evaluation_seconds and the latter's parts reconstruction_seconds, forward_seconds, environment_seconds; remarks
        (what had to be mended, and the agent's own), error; task (the name), split_seed, setting. What is not known is
        NaN or None.
        """
        rows = [_row(record, self._dense) for record in self.records]
        seed = self.experiment.config.task.split_seed
        return pd.DataFrame(rows).assign(task=self.name, split_seed=seed, setting=self.setting)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row per recorded evaluation of every run, in the order of the configuration, then of the search.

        Columns: agent, seed, index, accuracy (%, on the reward split), loss (nats), macs_kept, parameters_kept (% of
        the dense network's), cost_kept (%, of what is limited), feasible, probe, seconds (spent since the evaluation
        before), elapsed and agent_elapsed (s, of the search so far, and of it the agent's own), incumbent (%, the
        accuracy of the best feasible one so far; NaN while there is none).
        """
        rows = [
            {"agent": record.run.agent, "seed": record.run.seed} | row
            for record in self.records
            for row in _evaluations(record.lines, self._dense)
        ]
        return pd.DataFrame(rows, columns=["agent", "seed", *_EVALUATION_COLUMNS])

    @cached_property
    def dense(self) -> dict[str, Any]:
        """The dense network in the columns of :func:`summary`."""
        return {
            "agent": "dense",
            "reward_accuracy_mean": 100 * self._dense["reward_accuracy"],
            "test_accuracy_mean": 100 * self._dense["test_accuracy"],
            "macs_kept": 100.0,
            "parameters_kept": 100.0,
            "latency_kept": 100.0,
        }

    @property
    def images(self) -> int:
        """How many images the test split has."""
        return int(self.manifest["task"]["splits"]["test"])

    @property
    def _dense(self) -> dict[str, Any]:
        return self.manifest["task"]["dense"]

    @cached_property
    def best(self) -> list[tuple[Recorded, Line]]:
        """Of every agent the done run whose incumbent has the highest reward, the first of equal ones, with it."""
        found: dict[str, tuple[Recorded, Line]] = {}
        for record in self.records:
            line, before = record.incumbent, found.get(record.run.agent)
            done = record.status.state == "done"
            if done and line is not None and (before is None or line.reward > before[1].reward):
                found[record.run.agent] = record, line
        return list(found.values())


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per agent over its runs that are done; standard deviation and variance are of the sample (n - 1).

    Args:
        runs: from :attr:`Reading.runs`.

    Returns:
        Columns agent, seeds_done, seeds_asked, evaluations, distinct, reward_accuracy_mean, _std (%) and _variance
        (%^2), test_accuracy_mean, _std (%) and _variance (%^2), finetuned_accuracy_mean, _std (%), finetuned_runs,
        macs_kept, parameters_kept, latency_kept (%), seconds_mean, seconds_std, agent_seconds, evaluation_seconds. NaN
        where there is nothing to compute it from.
    """
    done = runs[runs["status"] == "done"].groupby("agent")
    table = done.agg(
        seeds_done=("seed", "size"),
        evaluations=("evaluations", "mean"),
        distinct=("distinct", "mean"),
        reward_accuracy_mean=("reward_accuracy", "mean"),
        reward_accuracy_std=("reward_accuracy", "std"),
        reward_accuracy_variance=("reward_accuracy", "var"),
        test_accuracy_mean=("test_accuracy", "mean"),
        test_accuracy_std=("test_accuracy", "std"),
        test_accuracy_variance=("test_accuracy", "var"),
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


def seconds(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean seconds of an agent's runs that are done, by what they were spent on; a row per agent, a column per part."""
    parts = ["agent", *_EVALUATION]
    means = runs[runs["status"] == "done"].groupby("agent", sort=False)[[f"{part}_seconds" for part in parts]].mean()
    return means.set_axis(parts, axis="columns")


def front(evaluations: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs kept and accuracies (%) of the evaluations that no cheaper one equals, by rising cost."""
    ordered = evaluations.sort_values(["cost_kept", "accuracy"], ascending=[True, False], kind="stable")
    accuracy = ordered["accuracy"].to_numpy(dtype=np.float64)
    best = np.maximum.accumulate(accuracy)
    better = np.concatenate([[True], accuracy[1:] > best[:-1]])
    return ordered["cost_kept"].to_numpy(dtype=np.float64)[better], accuracy[better]


def _evaluations(lines: list[Line], dense: dict[str, Any]) -> Iterator[dict[str, Any]]:
    elapsed, thought = 0.0, 0.0
    best: Line | None = None
    for line in lines:
        seconds = line.seconds.total
        elapsed += seconds
        thought += line.seconds.agent
        if line.feasible:
            best = line if best is None else min(best, line, key=rank)
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
            "incumbent": math.nan if best is None else 100 * best.accuracy,
        }


def _row(record: Recorded, dense: dict[str, Any]) -> dict[str, Any]:
    run, status, lines = record
    best = record.incumbent
    test, latency, tuned = status.test, status.latency, _finetuned(run)
    return {
        "agent": run.agent,
        "seed": run.seed,
        "status": status.state,
        "attempts": status.attempts,
        "nondeterministic": len(status.nondeterministic),
        "evaluations": len(lines),
        "distinct": sum(line.repeat_of is None for line in lines),
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
        **_seconds(lines, status),
        "remarks": "; ".join(filter(None, [*status.notices, _unfinite(lines), _remarks(status.notes or {})])),
        "error": str(status.error) if status.error else None,
    }


def _finetuned(run: Run) -> TestScore | None:
    found = run.finetuned()
    return found.test if found and found.state == "done" else None


def _remarks(notes: dict[str, Any]) -> str:
    """What an agent wants to stand under the table: a sentence, or a list of them."""
    remarks = notes.get("remarks", [])
    return plain_line("; ".join(map(str, remarks if isinstance(remarks, list) else [remarks])))


def _unfinite(lines: list[Line]) -> str:
    count = sum(not math.isfinite(line.loss) for line in lines)
    return f"{count} of {len(lines)} evaluations had no finite loss; they count as the worst" if count else ""


def _seconds(lines: list[Line], status: Status) -> dict[str, float]:
    """Of the search, and of confirming its best policies."""
    parts = {name: sum(getattr(line.seconds, name) for line in lines) for name in ("agent", *_EVALUATION)}
    for name, spent in ((n, s) for again in status.confirmed for n, s in again.seconds.items()):
        parts[name] += spent
    agent = parts.pop("agent") + status.seconds.get("closing", 0.0)
    evaluation = sum(parts.values())
    return {
        "seconds": agent + evaluation,
        "agent_seconds": agent,
        "evaluation_seconds": evaluation,
        **{f"{name}_seconds": value for name, value in parts.items()},
    }

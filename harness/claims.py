"""Published claims (``claims.yaml``) against what was measured here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import partial
from importlib.resources import files
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field

from harness import comparison, statistics, store
from harness.statistics import ALPHA
from harness.store import Experiment

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
TOO_FEW, NOT_TESTED = "not enough seeds", "not tested here"

_STRICT = ConfigDict(extra="forbid", frozen=True)
_UNITS = {"seconds": "s"}
_MARGIN = 1.0  # on both sides of a published range
_HALVED = 0.5  # the ratio of variances that a claim of less variance is about, where it has no number


class Where(BaseModel):
    """Which experiments can test a claim."""

    model_config = _STRICT
    models: tuple[str, ...] = ("*",)
    datasets: tuple[str, ...] = ("*",)
    preserve: float | None = None
    layers: int = 1

    def missing(self, experiment: Experiment) -> str | None:
        """What an experiment lacks; None where it can test the claim."""
        config = experiment.config
        layers = store.read_json(experiment.manifest_path)["task"]["layers"]
        if not any(fnmatch(config.task.model, pattern) for pattern in self.models):
            return f"needs the network {' or '.join(self.models)}"
        if not any(fnmatch(config.task.dataset, pattern) for pattern in self.datasets):
            return f"needs the data set {' or '.join(self.datasets)}"
        if self.preserve is not None and not math.isclose(config.preserve, self.preserve):
            return f"needs preserve {self.preserve:g}"
        if layers < self.layers:
            return f"needs a network of at least {self.layers} prunable layers, this has {layers}"
        return None


class Difference(BaseModel):
    """One agent's values are higher, or lower, than another's."""

    model_config = _STRICT
    kind: Literal["difference"]
    column: str
    agent: str
    reference: str
    expect: Literal["higher", "lower"]


class Variance(BaseModel):
    """One agent's values vary less than another's."""

    model_config = _STRICT
    kind: Literal["variance"]
    column: str
    agent: str
    reference: str
    expect: Literal["lower"]


class Value(BaseModel):
    """One agent's mean is the published figure, or reaches it."""

    model_config = _STRICT
    kind: Literal["value"]
    column: str
    agent: str
    published: tuple[float, float]
    expect: Literal["equals", "reaches"]


class Claim(BaseModel):
    """A published claim and the comparison that tests it."""

    model_config = _STRICT
    id: str
    source: str
    claim: str
    where: Where = Where()
    test: Annotated[Difference | Variance | Value, Field(discriminator="kind")]


class Finding(NamedTuple):
    """What came of a claim: what was measured, in words, and the outcome."""

    measured: str
    outcome: str


def load() -> list[Claim]:
    """The claims of ``claims.yaml``."""
    content = yaml.safe_load(files("harness").joinpath("claims.yaml").read_text(encoding="utf-8"))
    return [Claim.model_validate(entry) for entry in content]


def evaluate(claim: Claim, experiments: Sequence[Experiment], runs: pd.DataFrame) -> Finding:
    """Test a claim on those experiments that can test it.

    Args:
        claim: from :func:`load`.
        experiments: at least one.
        runs: of :func:`harness.frames.joined`, of these experiments.
    """
    lacking = [claim.where.missing(experiment) for experiment in experiments]
    tasks = [task for task, lack in zip(dict.fromkeys(runs["task"]), lacking, strict=True) if lack is None]
    if not tasks:
        return Finding(str(next(filter(None, lacking))), NOT_TESTED)
    mine = runs[runs["task"].isin(tasks) & (runs["status"] == "done")].dropna(subset=[claim.test.column])
    named = [claim.test.agent, *([claim.test.reference] if not isinstance(claim.test, Value) else [])]
    labels = [_label(comparison.agents_of(mine), name) for name in named]
    if None in labels:
        absent = named[labels.index(None)]
        what = "fine-tuned runs" if claim.test.column == "finetuned_accuracy" else "finished runs"
        return Finding(f"needs {what} of {absent}", NOT_TESTED)
    test = {"difference": _difference, "variance": _variance, "value": _value}[claim.test.kind]
    return test(claim.test, mine, *labels)  # type: ignore[operator]


def _label(labels: Sequence[str], name: str) -> str | None:
    """The agent by its plain name, or else the first one of that name with options."""
    return name if name in labels else next((label for label in labels if label.partition(":")[0] == name), None)


def _difference(test: Difference, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    pairs = comparison.paired_differences(runs, agent, reference, test.column)
    result = statistics.paired(pairs)
    unit = _UNITS.get(test.column, "points")
    tasks = f" of {n} tasks" if (n := runs["task"].nunique()) > 1 else ""
    measured = f"{agent} minus {reference}: {result.mean:+.2f} {unit} (mean of {_counted(result.pairs, 'pair')}{tasks}"
    if not statistics.decidable(result.pairs):
        return Finding(f"{measured}; p cannot be below {statistics.smallest_p(result.pairs):.2g})", TOO_FEW)
    measured = f"{measured}, p = {result.p:.2g}"
    claimed_sign = result.mean * (1 if test.expect == "higher" else -1) > 0
    if claimed_sign and result.p <= ALPHA:
        return Finding(f"{measured})", REPRODUCED)
    needed = statistics.seeds_needed(pairs)
    if not claimed_sign or needed is None:
        return Finding(f"{measured})", NOT_REPRODUCED)
    return Finding(f"{measured}; about {max(needed, result.pairs + 1)} pairs would decide)", TOO_FEW)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _variance(test: Variance, runs: pd.DataFrame, agent: str, reference: str) -> Finding:
    counts = runs[runs["agent"].isin((agent, reference))].groupby(["task", "agent"]).size().unstack(fill_value=0)
    tasks = counts.index[(counts >= statistics.RESAMPLED_RUNS).all(axis=1)]
    if len(tasks) == 0 or counts.shape[1] < 2:
        fewest = _counted(int(counts.to_numpy().min()), "run")
        return Finding(f"{fewest} each; no test below {statistics.RESAMPLED_RUNS} on one task", TOO_FEW)
    enough = runs[runs["task"].isin(tasks)]
    ours, theirs = (_around_medians(enough, name, test.column) for name in (agent, reference))
    ratio, (low, _) = statistics.variance_ratio(ours, theirs)
    p = statistics.brown_forsythe(ours, theirs)
    measured = f"variance of {agent} over that of {reference}: {ratio:.2f} ({min(len(ours), len(theirs))} runs each"
    if math.isnan(ratio) or math.isnan(p):
        return Finding(f"{measured.replace('nan', 'none')}; nothing varies)", NOT_TESTED)
    if ratio < 1 and p <= ALPHA:
        return Finding(f"{measured}, p = {p:.2g})", REPRODUCED)
    return Finding(f"{measured}, p = {p:.2g})", NOT_REPRODUCED if ratio >= 1 or low > _HALVED else TOO_FEW)


def _around_medians(runs: pd.DataFrame, agent: str, column: str) -> np.ndarray:
    """An agent's values, each task's shifted so that its median is 0."""
    values = runs[runs["agent"] == agent].groupby("task")[column].transform(lambda task: task - task.median())
    return values.to_numpy(dtype=np.float64)


def _value(test: Value, runs: pd.DataFrame, agent: str) -> Finding:
    values = runs[runs["agent"] == agent][test.column].to_numpy(dtype=np.float64)
    low, high = statistics.mean_interval(values)
    measured = f"{agent}: {values.mean():.2f} (mean of {_counted(len(values), 'run')}"
    if len(values) < statistics.RESAMPLED_RUNS:
        return Finding(f"{measured}; no interval below {statistics.RESAMPLED_RUNS})", TOO_FEW)
    least, most = test.published
    if test.expect == "reaches":
        meets, misses = low >= least, high < least
    else:
        meets, misses = low >= least - _MARGIN and high <= most + _MARGIN, high < least or low > most
    outcome = REPRODUCED if meets else NOT_REPRODUCED if misses else TOO_FEW
    return Finding(f"{measured}, 95 % interval {low:.2f} to {high:.2f})", outcome)


def findings(experiments: Sequence[Experiment], runs: pd.DataFrame) -> pd.DataFrame:
    """Every claim's row: id, source, claim, measured, outcome."""
    test = partial(evaluate, experiments=experiments, runs=runs)
    return pd.DataFrame([{"id": c.id, "source": c.source, "claim": c.claim} | test(c)._asdict() for c in load()])

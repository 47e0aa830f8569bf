"""The test accuracy of every run, for an appendix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunebench.harness.analysis.comparison import HEADLINE
from prunebench.harness.report.tables.tabular import AGENT, Column, Row, Table, number, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "seeds"


def table(results: Results) -> Table:
    """A row per agent (and task), a column per seed."""
    runs, several = results.runs, len(results.readings) > 1
    seeds = sorted(runs["seed"].unique())
    told = [
        {"task": task, "agent": agent} | {f"seed_{seed}_accuracy": value for seed, value in _accuracies(rows)}
        for (task, agent), rows in runs.groupby(["task", "agent"], sort=False)
    ]
    keys = [f"seed_{seed}_accuracy" for seed in seeds]
    task = Column("task", "network,\nbudget", "network, budget", text("task"), left=True)
    columns = [
        *([task] if several else []),
        AGENT,
        *(Column(key, f"seed {seed}", f"seed {seed}", _cell(key)) for key, seed in zip(keys, seeds, strict=True)),
    ]
    frame = pd.DataFrame(told, columns=[*(["task"] if several else []), "agent", *keys])
    caption = "Accuracy (%) on the test split of every run that is done, by seed."
    group = "task" if several else ""
    return Table(NAME, "Seed by seed", columns, told, frame, caption, group=group, appendix=True)


def _accuracies(rows: pd.DataFrame) -> list[tuple[Any, float]]:
    """Of one agent in one task: seeds and accuracies (%)."""
    done = rows[rows["status"] == "done"]
    return list(zip(done["seed"], done[HEADLINE].astype(float), strict=True))


def _cell(key: str) -> Callable[[Row], str]:
    form = number(2)
    return lambda row: form(row.get(key))

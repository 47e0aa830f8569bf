"""Normalised scores over several tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.analysis import several
from prunebench.harness.report.tables.tabular import AGENT, Column, Table, interval, plain, rows, said_once, shown

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "scores"
_COLUMNS = (
    AGENT,
    Column("mean", "mean\nscore", "mean", plain("mean", 2)),
    Column("interval", "95 % interval\nof the mean", "95 % interval", interval("mean_low", "mean_high", 2)),
    Column("iqm", "IQM of\nthe score", "IQM", plain("iqm", 2)),
    Column("runs", "runs", "runs", plain("runs"), common=True),
)


def table(results: Results) -> Table | None:
    """Means of the scores; None where fewer than two tasks have any."""
    scores = results.scores
    if len(scores.tasks) < 2 or scores.frame.empty:
        return None
    frame = several.summary(scores.frame)
    told = rows(frame)
    caption = (
        f"Normalised score over {len(scores.tasks)} tasks: 0 is the uniform policy's test accuracy in a task, 1 the "
        "dense network's. Means over tasks: of the mean, with Student's interval for these tasks, and of the "
        "interquartile mean (IQM) of runs."
    )
    notes = [*said_once(_COLUMNS, told), *(f"{task} is left out: {why}." for task, why in scores.without.items())]
    if scores.absent:
        notes.append(f"Without a result in one of the tasks, and left out: {', '.join(scores.absent)}.")
    return Table(NAME, "Scores over all tasks", shown(_COLUMNS, told), told, frame, caption, notes)

"""The table of one or several experiments: accuracy, variance and time of every agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.report.tables import caption as captions
from prunebench.harness.report.tables.tabular import (
    AGENT,
    DASH,
    Column,
    Mark,
    Row,
    Table,
    mean_std,
    number,
    plain,
    rows,
    shown,
    text,
)

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "table"


def _seeds(row: Row) -> str:
    if pd.isna(row["seeds_asked"]):
        return DASH
    done, asked = int(row["seeds_done"]), int(row["seeds_asked"])
    return str(done) if done == asked else f"{done} of {asked}"


def _evaluations(row: Row) -> str:
    mean = row["evaluations"]
    return number(0 if pd.isna(mean) or float(mean).is_integer() else 1)(mean)


def _finetuned(row: Row) -> str:
    cell = mean_std("finetuned_accuracy", 2)(row)
    partly = cell != DASH and row["finetuned_runs"] < row["seeds_done"]
    return f"{cell} ({row['finetuned_runs']} of {row['seeds_done']})" if partly else cell


_TASK = Column("task", "network,\nbudget", "network, budget", text("task"), left=True)
_COLUMNS = (
    AGENT,
    Column("seeds", "seeds", "seeds", _seeds),
    Column("evaluations", "evalu-\nations", "evals", _evaluations),
    Column(
        "reward", "reward split\naccuracy, %", "reward, %", mean_std("reward_accuracy", 2), ranked="reward_accuracy"
    ),
    Column("variance", "var.,\n%²", "var., %²", plain("reward_accuracy_variance", 2)),
    Column("test", "test split\naccuracy, %", "test, %", mean_std("test_accuracy", 2), ranked="test_accuracy"),
    Column("finetuned", "fine-\ntuned, %", "tuned, %", _finetuned, ranked="finetuned_accuracy", optional=True),
    Column("macs", "MACs\nkept, %", "MACs, %", plain("macs_kept", 1)),
    Column("parameters", "params\nkept, %", "params, %", plain("parameters_kept", 1)),
    Column("latency", "latency\nkept, %", "latency, %", plain("latency_kept", 1)),
    Column("time", "time,\ns", "time, s", mean_std("seconds", 1)),
    Column("agent_time", "agent,\ns", "agent, s", plain("agent_seconds", 1)),
    Column("evaluation_time", "eval.,\ns", "eval., s", plain("evaluation_seconds", 1)),
)
_LEGEND = (
    "Columns: top-1 accuracy on the reward split (mean, standard deviation and variance) and on the test split; "
    "MACs, parameters and latency kept; wall-clock time, of which the agent's own and that of the evaluations"
)
_BEST = "Bold: the best mean"
_TIED = "underlined: may be the best too (95 % confidence)"


def table(results: Results, caption: str | None = None) -> Table:
    """Rows are agents, or networks and agents where there are several experiments.

    Args:
        results: of at least one experiment.
        caption: without it, one is generated. What was measured and how stands among the notes.
    """
    several = len(results.parts) > 1
    frame = _frame(results)
    told = rows(frame)
    marks = _marks(results)
    kept = frame.columns if several else frame.columns.drop("task")
    return Table(
        name=NAME,
        title="Agents",
        columns=shown([_TASK, *_COLUMNS] if several else _COLUMNS, told),
        rows=told,
        frame=frame[kept],
        caption=captions.headline(results.experiments) if caption is None else caption,
        notes=[*_missing(results), captions.protocol(list(results.readings.values()))],
        warning=captions.warning(list(results.readings.values())),
        marks=marks,
        legend=_legend(marks),
        group="task" if several else "",
        explained=_LEGEND if marks else "",
    )


def _frame(results: Results) -> pd.DataFrame:
    """Of every task the dense network, then the agents."""
    parts = [
        frame.assign(task=part.reading.name)
        for part in results.parts
        for frame in (pd.DataFrame([part.reading.dense]), part.summary)
    ]
    return pd.concat(parts, ignore_index=True)[["task", *results.parts[0].summary.columns]]


def _missing(results: Results) -> list[str]:
    several = len(results.parts) > 1
    return [
        f"{part.reading.name}: {note}" if several else note
        for part in results.parts
        for note in captions.missing(part.reading, part.runs)
    ]


def _marks(results: Results) -> dict[tuple[int, str], Mark]:
    """Of every task the best agent, and those that may be the best too, by row and column."""
    marks: dict[tuple[int, str], Mark] = {}
    row = 0
    for part in results.parts:
        for column in filter(lambda column: column.ranked, _COLUMNS):
            best, possible = part.best(column.ranked)
            marks |= {(row + 1 + n, column.key): "tied" for n, agent in enumerate(part.agents) if agent in possible}
            marks |= {(row + 1 + n, column.key): "best" for n, agent in enumerate(part.agents) if agent == best}
        row += 1 + len(part.agents)
    return marks


def _legend(marks: Mapping[tuple[int, str], Mark]) -> str:
    """What the marks mean; that none is told apart where no agent is."""
    if not marks:
        return ""
    return f"{_BEST}; {_TIED}." if "tied" in marks.values() else f"{_BEST}."

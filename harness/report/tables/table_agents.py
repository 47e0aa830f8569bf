"""The table of one or several experiments: accuracy, variance and time of every agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunebench.envs.errors import check_choice
from prunebench.harness.report.tables import caption as captions
from prunebench.harness.report.tables import table_confirmed
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
    said_once,
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
    """How many were distinct; where some were not, of how many."""
    distinct, evaluations = (_count(row[key]) for key in ("distinct", "evaluations"))
    return distinct if distinct == evaluations else f"{distinct} of {evaluations}"


def _count(mean: Any) -> str:
    return number(0 if pd.isna(mean) or float(mean).is_integer() else 1)(mean)


def _finetuned(row: Row) -> str:
    cell = mean_std("finetuned_accuracy", 2)(row)
    partly = cell != DASH and row["finetuned_runs"] < row["seeds_done"]
    return f"{cell} ({row['finetuned_runs']} of {row['seeds_done']})" if partly else cell


_TASK = Column("task", "network,\nbudget", "network, budget", text("task"), left=True)
_COLUMNS = (
    AGENT,
    Column("test", "test split\naccuracy, %", "test, %", mean_std("test_accuracy", 2), ranked="test_accuracy"),
    Column("variance", "var.,\n%²", "var., %²", plain("test_accuracy_variance", 2)),
    Column("finetuned", "fine-\ntuned, %", "tuned, %", _finetuned, ranked="finetuned_accuracy", optional=True),
    Column(
        "reward", "reward split\naccuracy, %", "reward, %", mean_std("reward_accuracy", 2), ranked="reward_accuracy"
    ),
    Column("macs", "MACs\nkept, %", "MACs, %", plain("macs_kept", 1)),
    Column("parameters", "params\nkept, %", "params, %", plain("parameters_kept", 1)),
    Column("latency", "latency\nkept, %", "latency, %", plain("latency_kept", 1)),
    Column("time", "time,\ns", "time, s", mean_std("seconds", 1)),
    Column("agent_time", "agent,\ns", "agent, s", plain("agent_seconds", 1)),
    Column("evaluation_time", "eval.,\ns", "eval., s", plain("evaluation_seconds", 1)),
    Column("evaluations", "distinct\nevals", "evals", _evaluations, common=True),
    Column("seeds", "seeds", "seeds", _seeds, common=True),
)
KEYS = tuple(column.key for column in _COLUMNS if column is not AGENT)
"""The columns that can be asked for, besides those that say what a row is."""
_LEGEND = (
    "Columns: top-1 accuracy on the test split (mean, standard deviation and variance) and on the reward split; "
    "MACs, parameters and latency kept; wall-clock time, of which the agent's own and that of the evaluations"
)
_DISTINCT = "Distinct evaluations: those that did not repeat a policy that the run had already scored."
_BEST = "Bold: the best mean"
_TIED = "underlined: may be the best too (95 % confidence)"


def table(results: Results, caption: str | None = None, chosen: Sequence[str] = ()) -> Table:
    """Rows are agents, or networks and agents where there are several experiments.

    Args:
        results: of at least one experiment.
        caption: without it, one is generated. What was measured and how stands below it.
        chosen: of :data:`KEYS`, in order; the default are all that say something.

    Raises:
        TaskError: there is no such column.
    """
    several = len(results.parts) > 1
    frame = _frame(results)
    told = rows(frame)
    kept = frame.columns if several else frame.columns.drop("task")
    columns = _chosen(chosen) if chosen else shown(_COLUMNS, told)
    marks = _marks(results, columns)
    return Table(
        name=NAME,
        title="Agents",
        columns=[_TASK, *columns] if several else columns,
        rows=told,
        frame=frame[kept],
        caption=captions.headline(results.experiments) if caption is None else caption,
        notes=[*_explained(columns, told), *_missing(results)],
        how=captions.protocol(list(results.readings.values())),
        warning=captions.warning(list(results.readings.values())),
        marks=marks,
        legend=_legend(marks),
        group="task" if several else "",
        explained=_LEGEND if marks else "",
    )


def _chosen(keys: Sequence[str]) -> list[Column]:
    known = {column.key: column for column in _COLUMNS}
    for key in keys:
        check_choice("column", key, KEYS)
    return [AGENT, *(known[key] for key in dict.fromkeys(keys))]


def _explained(columns: Sequence[Column], told: Sequence[Row]) -> list[str]:
    """What all rows have in common, and what a distinct evaluation is."""
    left_out = [column for column in _COLUMNS if column not in columns]
    evaluations = any(column.key == "evaluations" for column in columns)
    return [*said_once(left_out, told), *([_DISTINCT] if evaluations else [])]


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
        for note in [*table_confirmed.notes(part), *captions.missing(part.reading, part.runs)]
    ]


def _marks(results: Results, columns: Sequence[Column]) -> dict[tuple[int, str], Mark]:
    """Of every task the best agent, and those that may be the best too, by row and column."""
    marks: dict[tuple[int, str], Mark] = {}
    row = 0
    for part in results.parts:
        for column in (column for column in columns if column.ranked and _all_have(column.ranked, part.runs)):
            best, possible = part.best(column.ranked)
            marks |= {(row + 1 + n, column.key): "tied" for n, agent in enumerate(part.agents) if agent in possible}
            marks |= {(row + 1 + n, column.key): "best" for n, agent in enumerate(part.agents) if agent == best}
        row += 1 + len(part.agents)
    return marks


def _all_have(column: str, runs: pd.DataFrame) -> bool:
    """Whether every tested run has a value: of networks of which some are fine-tuned none is the best."""
    return bool(runs.loc[runs["test_accuracy"].notna(), column].notna().all())


def _legend(marks: Mapping[tuple[int, str], Mark]) -> str:
    """What the marks mean; that none is told apart where no agent is."""
    if not marks:
        return ""
    return f"{_BEST}; {_TIED}." if "tied" in marks.values() else f"{_BEST}."

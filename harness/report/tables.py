"""The table of one or several experiments: accuracy, variance and time of every agent; and the files of all tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from prunebench.harness.analysis import comparison, frames
from prunebench.harness.files import write_text
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import analysis_tables, caption, tabular
from prunebench.harness.report.tabular import DASH, Column, Mark, Row, Table, mean_std, number, plain

FORMATS = tuple(tabular.FORMS)
_NAMES = ("table", "statistics", "differences", "variances", "anytime", "components", "claims")
_SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}


def _seeds(row: Row) -> str:
    if pd.isna(row["seeds_asked"]):
        return DASH
    done, asked = int(row["seeds_done"]), int(row["seeds_asked"])
    return str(done) if done == asked else f"{done} of {asked}"


def _evaluations(row: Row) -> str:
    mean = row["evaluations"]
    return number(0 if pd.isna(mean) or float(mean).is_integer() else 1)(mean)


_TASK = Column("task", "network,\nbudget", "network, budget", tabular.text("task"), left=True)


def _finetuned(row: Row) -> str:
    text = mean_std("finetuned_accuracy", 2)(row)
    partly = text != DASH and row["finetuned_runs"] < row["seeds_done"]
    return f"{text} ({row['finetuned_runs']} of {row['seeds_done']})" if partly else text


_FINETUNED = Column("finetuned", "fine-\ntuned, %", "tuned, %", _finetuned)
_COLUMNS = (
    Column("agent", "agent", "agent", tabular.text("agent"), left=True),
    Column("seeds", "seeds", "seeds", _seeds),
    Column("evaluations", "evalu-\nations", "evals", _evaluations),
    Column("reward", "reward split\naccuracy, %", "reward, %", mean_std("reward_accuracy", 2)),
    Column("variance", "var.,\n%²", "var., %²", plain("reward_accuracy_variance", 2)),
    Column("test", "test split\naccuracy, %", "test, %", mean_std("test_accuracy", 2)),
    Column("macs", "MACs\nkept, %", "MACs, %", plain("macs_kept", 1)),
    Column("parameters", "params\nkept, %", "params, %", plain("parameters_kept", 1)),
    Column("latency", "latency\nkept, %", "latency, %", plain("latency_kept", 1)),
    Column("time", "time,\ns", "time, s", mean_std("seconds", 1)),
    Column("agent_time", "agent,\ns", "agent, s", plain("agent_seconds", 1)),
    Column("evaluation_time", "eval.,\ns", "eval., s", plain("evaluation_seconds", 1)),
)
_MARKED = {"test": comparison.HEADLINE, "reward": "reward_accuracy", "finetuned": "finetuned_accuracy"}
_LEGEND = (
    "Columns: top-1 accuracy on the reward split (mean, standard deviation and variance) and on the test split; "
    "MACs, parameters and latency kept; wall-clock time, of which the agent's own and that of the evaluations"
)
_BEST = "Bold: the best mean"
_TIED = "underlined: not told apart from it by an exact paired sign-flip test (5 %, corrected for all pairs of agents)"


def comparison_table(
    experiments: Sequence[Experiment], text: str | None = None, runs: pd.DataFrame | None = None
) -> Table:
    """Rows are agents, or networks and agents where there are several experiments.

    Args:
        experiments: at least one.
        text: of the caption; without it, one is generated. What was measured and how stands among the notes.
        runs: of :func:`prunebench.harness.analysis.frames.joined`, where it is known already.

    Raises:
        StoreError: a file of an experiment is damaged.
    """
    runs = frames.joined(experiments) if runs is None else runs
    parts: list[pd.DataFrame] = []
    marks: dict[tuple[int, str], Mark] = {}
    undecided = False
    for name, experiment in zip(dict.fromkeys(runs["task"]), experiments, strict=True):
        mine = runs[runs["task"] == name]
        first = sum(len(part) for part in parts)
        found, open_here = _marks(mine)
        marks |= {(first + 1 + row, key): mark for (row, key), mark in found.items()}
        undecided = undecided or open_here
        parts += [pd.DataFrame([{"task": name} | frames.dense_row(experiment)]), frames.summary(mine).assign(task=name)]
    frame = pd.concat(parts, ignore_index=True)
    several = len(experiments) > 1
    notes = [note for name, e in _by_task(runs, experiments) for note in _missing(e, runs, name if several else "")]
    return Table(
        name="table",
        title="Agents",
        columns=_columns(frame, several),
        rows=[dict(row) for row in frame.to_dict("records")],  # type: ignore[arg-type]
        frame=frame[["task", *parts[1].columns.drop("task")]] if several else frame[parts[1].columns.drop("task")],
        caption=caption.headline(experiments) if text is None else text,
        notes=[*notes, caption.protocol(experiments)],
        marks=marks,
        legend=_legend(marks, undecided),
        group="task" if several else "",
    )


def _legend(marks: Mapping[tuple[int, str], Mark], undecided: bool) -> str:
    """What the marks mean, and that there are none where so few seeds cannot give any."""
    if not marks:
        return ""
    tied = "tied" in marks.values()
    few = f" With so few seeds no test can tell {'all' if tied else 'any'} of the others from it."
    return f"{_BEST}{f'; {_TIED}' if tied else ''}.{few if undecided else ''}"


def _columns(frame: pd.DataFrame, several: bool) -> list[Column]:
    columns = [_TASK, *_COLUMNS] if several else list(_COLUMNS)
    if frame["finetuned_accuracy_mean"].notna().any():
        columns.insert([column.key for column in columns].index("test") + 1, _FINETUNED)
    return columns


def _by_task(runs: pd.DataFrame, experiments: Sequence[Experiment]) -> list[tuple[str, Experiment]]:
    return list(zip(dict.fromkeys(runs["task"]), experiments, strict=True))


def _missing(experiment: Experiment, runs: pd.DataFrame, name: str) -> list[str]:
    mine = runs if not name else runs[runs["task"] == name]
    return [f"{name}: {note}" if name else note for note in caption.missing(experiment, mine)]


def _marks(runs: pd.DataFrame) -> tuple[dict[tuple[int, str], Mark], bool]:
    """Of one task's rows (without the dense network's): the best, and what no test tells apart from it.

    And whether there are agents that so few seeds can tell nothing of.
    """
    agents = comparison.agents_of(runs)
    marks: dict[tuple[int, str], Mark] = {}
    undecided = False
    for key, column in _MARKED.items():
        found = comparison.against_best(runs, column)
        undecided = undecided or bool(found.undecided)
        for row, agent in enumerate(agents):
            if agent == found.best:
                marks[row, key] = "best"
            elif agent in found.tied:
                marks[row, key] = "tied"
    return marks, undecided


def render(experiments: Experiment | Sequence[Experiment], form: str, text: str | None = None) -> str:
    """The table in one of :data:`FORMATS`, with its caption and what is missing from it.

    Raises:
        StoreError: a file of an experiment is damaged.
    """
    several = [experiments] if isinstance(experiments, Experiment) else experiments
    return _render(comparison_table(several, text), form)


def _render(table: Table, form: str) -> str:
    if form == "latex" and table.marks:
        table = replace(table, notes=[*table.notes, _LEGEND])
    return tabular.FORMS[form](table)


class Part(NamedTuple):
    """One of the experiments that are compared, with the tables of it alone."""

    name: str  # its task
    experiment: Experiment
    runs: pd.DataFrame
    reference: str
    tables: list[Table]


def parts(
    experiments: Sequence[Experiment], runs: pd.DataFrame, reference: str | None = None, targets: Sequence[float] = ()
) -> list[Part]:
    """Every experiment with the tables of it alone.

    Args:
        experiments: at least one.
        runs: of :func:`prunebench.harness.analysis.frames.joined`.
        reference: the agent that others are compared with, in those experiments where it took part.
        targets: accuracies (%) to be reached, besides those of the controls.

    Raises:
        TaskError: there is no such reference agent in any of them.
    """
    chosen = comparison.reference_agent(comparison.agents_of(runs), reference)
    found = []
    for name, experiment in _by_task(runs, experiments):
        mine = runs[runs["task"] == name]
        own = comparison.own_reference(comparison.agents_of(mine), chosen)
        found.append(Part(name, experiment, mine, own, together([experiment], mine, own, targets)))
    return found


def together(
    experiments: Sequence[Experiment], runs: pd.DataFrame, reference: str | None = None, targets: Sequence[float] = ()
) -> list[Table]:
    """Every table of experiments taken together, the comparison first; arguments as those of :func:`parts`."""
    return [comparison_table(experiments, runs=runs), *analysis_tables.tables(experiments, runs, reference, targets)]


def write(*experiments: Experiment, reference: str | None = None) -> None:
    """Rebuild every file in the ``tables/`` of experiments, each its own, from the lines on disk.

    Raises:
        TaskError: there is no such reference agent in any of them; nothing was written.
        StoreError: a file of an experiment is damaged.
    """
    for part in parts(experiments, frames.joined(experiments), reference):
        save_part(part)


def save_part(part: Part) -> None:
    """Write an experiment's tables and ``runs.csv`` beside its runs."""
    save(part.tables, part.experiment.tables_folder)
    rows = part.runs.drop(columns=["task", "split_seed", "setting"]).rename(columns=tabular.with_unit)
    write_text(part.experiment.tables_folder / "runs.csv", rows.to_csv(index=False))


def save(found: Sequence[Table], folder: Path) -> None:
    """Write tables into a folder, each as Markdown, CSV and LaTeX, and remove those there that are not among them."""
    for table in found:
        for form, suffix in _SUFFIXES.items():
            write_text(folder / f"{table.name}.{suffix}", _render(table, form))
    for name in set(_NAMES) - {table.name for table in found}:
        for suffix in _SUFFIXES.values():
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)

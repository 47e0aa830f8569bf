"""Accuracy over several budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunebench.harness.analysis.several import ACCURACIES
from prunebench.harness.report.tables.tabular import AGENT, Column, Row, Table, mean_std, shown, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "tradeoff"
_HEADINGS = dict(zip(ACCURACIES, ("test, %", "tuned, %"), strict=True))


def table(results: Results) -> Table | None:
    """A row per agent, a column per budget; None where no experiments differ in their budget alone."""
    frame = results.tradeoff
    if frame.empty:
        return None
    agents = frame[frame["agent"] != "dense"]
    told = [_row(setting, agent, rows) for (setting, agent), rows in agents.groupby(["setting", "agent"], sort=False)]
    budgets = sorted(agents["preserve"].unique(), reverse=True)
    settings = Column("setting", "network", "network", text("setting"), left=True)
    several = agents["setting"].nunique() > 1
    columns = [
        *([settings] if several else []),
        AGENT,
        *(_column(accuracy, budget) for accuracy in ACCURACIES for budget in budgets),
    ]
    caption = (
        "Accuracy on the test split over budgets (at most so much of the dense network's cost), mean ± standard "
        f"deviation over seeds. {_dense(frame)}"
    )
    group = "setting" if several else ""
    return Table(NAME, "Accuracy over budgets", shown(columns, told), told, frame, caption, group=group)


def _row(setting: Any, agent: Any, rows: pd.DataFrame) -> dict[str, Any]:
    """An agent's means and deviations, by accuracy and budget."""
    found = {"setting": setting, "agent": agent}
    for row in rows.to_dict("records"):
        found |= {
            f"{accuracy}_{row['preserve']:g}_{part}": row[f"{accuracy}_{part}"]
            for accuracy in ACCURACIES
            for part in ("mean", "std")
        }
    return found


def _column(accuracy: str, budget: float) -> Column:
    key, short = f"{accuracy}_{budget:g}", f"{_HEADINGS[accuracy]}"
    budget_text = f"{100 * budget:g} %"
    cell = mean_std(key, 2)

    def known(row: Row) -> str:
        nothing: Mapping[str, Any] = {f"{key}_mean": None, f"{key}_std": None}
        return cell({**nothing, **row})

    return Column(key, f"at {budget_text}\n{short}", f"{short} at {budget_text}", known, optional=True)


def _dense(frame: pd.DataFrame) -> str:
    """What the dense networks reach, in a sentence."""
    dense = frame[frame["agent"] == "dense"]
    several = len(dense) > 1
    parts = [
        f"{row['setting']} {row['test_accuracy_mean']:.2f} %" if several else f"{row['test_accuracy_mean']:.2f} %"
        for row in dense.to_dict("records")
    ]
    return f"The dense network{'s' if several else ''}: {', '.join(parts)}."

"""The table of the area under the incumbent's curve, and of what it takes to reach targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.analysis import anytime
from prunebench.harness.report.tables.tabular import AGENT, DASH, Column, Row, Table, mean_std, number, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "anytime"


def table(results: Results) -> Table | None:
    """Areas and expected running times; None of several tasks."""
    if len(results.readings) > 1:
        return None
    frame = results.anytime
    columns = [AGENT, Column("area", "area,\n%", "area, %", mean_std("area", 2))]
    for name in (key.removesuffix("_accuracy") for key in frame.columns if key.endswith("_accuracy")):
        columns += _target_columns(name, frame[f"{name}_accuracy"].iloc[0])
    caption = (
        f"Anytime view, on the reward split. Area: mean of the incumbent's accuracy over evaluations 1 to "
        f"{results.experiment.config.search_evaluations} "
        f"({_before(frame)} before a run's first policy within the budget). Reaching a target: "
        "expected running time (all that an agent's runs spent until they reached it or ended, over how many of them "
        "did)."
    )
    return Table(NAME, "Anytime", columns, rows(frame), frame, caption)


def _before(frame: pd.DataFrame) -> str:
    known = f"{anytime.BEFORE}_accuracy" in frame.columns
    return f"{anytime.BEFORE}'s accuracy" if known else "0"


def _target_columns(name: str, value: float) -> list[Column]:
    heading = f"{name}'s\n{value:.2f} %" if name in anytime.REFERENCES else f"\n{value:.2f} %"
    return [
        Column(f"{name}_reached", f"reached {heading}", f"{value:.2f} %", _reached(name)),
        Column(f"{name}_evaluations", "evalu-\nations", "evals", _expected(f"{name}_evaluations")),
        Column(f"{name}_seconds", "\ns", "s", _expected(f"{name}_seconds")),
    ]


def _reached(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        reached = row[f"{name}_reached"]
        return DASH if pd.isna(reached) else f"{int(reached)} of {int(row['runs'])}"

    return cell


def _expected(key: str) -> Callable[[Row], str]:
    """An expected running time: infinite where no run came that far."""
    return lambda row: "∞" if row[key] == math.inf else number(1)(row[key])

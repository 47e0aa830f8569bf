"""Every agent against the reference, on the test split, seed by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.analysis import comparison, inference, power
from prunebench.harness.report.tables.tabular import (
    AGENT,
    DASH,
    TESTS,
    Column,
    Row,
    Table,
    interval,
    number,
    plain,
    rows,
)

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "differences"


def table(results: Results) -> Table | None:
    """Mean differences with what a test says of them; None where there is one agent."""
    frame, tasks = results.differences, len(results.readings)
    if len(results.agents) == 1:
        return None
    paired = "paired by seed" if tasks == 1 else f"paired by task ({tasks}) and seed"
    caption = (
        f"Accuracy on the test split, {paired}: each agent minus {results.reference} (mean ± standard deviation). "
        f"Two-sided exact sign-flip permutation test, Holm's correction for {_compared(frame)} comparisons, 5 %. "
        f"P(better): how often a run of the agent beats one of {results.reference}, ties as halves; bootstrap interval "
        f"from {inference.RESAMPLED_RUNS} runs on. More pairs: for a power of 80 % if the differences go on as they "
        f"began (?: more than {power.MOST_SEEDS}, or nothing to tell from)."
    )
    notes = _floor_note(frame)
    if tasks > 1:
        notes.append("Pairs of several tasks speak of these tasks, not of others.")
    return Table(NAME, f"Against {results.reference}", _columns(frame), rows(frame), frame, caption, notes)


def _columns(frame: pd.DataFrame) -> list[Column]:
    decided = bool(frame["p"].notna().any())
    inside = interval("difference_low", "difference_high", 2)
    return [
        AGENT,
        Column("pairs", "pairs", "pairs", plain("pairs")),
        Column("difference", "difference,\npoints", "difference", _difference),
        Column("interval", "95 % interval\nof its mean", "95 % interval", inside),
        *(TESTS if decided else []),
        Column("improvement", "P(better)\n[95 % interval]", "P(better)", _improvement),
        Column("verdict", "verdict", "verdict", _verdict, left=True),
        Column("more_seeds", "more pairs\nto decide", "more pairs", _more),
    ]


def _improvement(row: Row) -> str:
    form = number(2)
    inside = interval("probability_low", "probability_high", 2)(row)
    return form(row["probability"]) if inside == DASH else f"{form(row['probability'])} {inside}"


def _difference(row: Row) -> str:
    mean, std = row["difference_mean"], number(2)(row["difference_std"])
    if pd.isna(mean):
        return DASH
    return f"{mean:+.2f}" if std == DASH else f"{mean:+.2f} ± {std}"


def _verdict(row: Row) -> str:
    verdict = str(row["verdict"])
    if verdict == comparison.UNDECIDABLE and row["pairs"]:
        return f"{verdict} (p ≥ {row['p_floor']:.2g})"
    return verdict


def _more(row: Row) -> str:
    if row["verdict"] in (comparison.BETTER, comparison.WORSE, comparison.NO_PAIRS):
        return DASH
    return "?" if pd.isna(row["more_seeds"]) else f"{row['more_seeds']:.0f}"


def _compared(frame: pd.DataFrame) -> int:
    return int((frame["pairs"] > 1).sum())


def _floor_note(frame: pd.DataFrame) -> list[str]:
    """Why there are no p values, where so few seeds cannot give one that decides anything."""
    if frame["p"].notna().any():
        return []
    pairs, comparisons = int(frame["pairs"].max()), _compared(frame)
    if pairs == 0:
        return ["No run of the reference is finished beside another agent's: nothing can be compared."]
    if pairs == 1:
        return ["One pair says nothing about chance: no p values."]
    needed = inference.fewest_pairs(comparisons)
    return [
        f"{pairs} pairs cannot give a p below {inference.smallest_p(pairs):.2g}, {comparisons} comparisons none below "
        f"{min(1.0, comparisons * inference.smallest_p(pairs)):.2g}: no p values are shown, and nothing here is a "
        f"finding. {needed} pairs are the fewest that can decide."
    ]

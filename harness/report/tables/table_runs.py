"""The table of every run and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import AGENT, Column, Table, plain, rows, shown, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "runs"
_COLUMNS = (
    AGENT,
    Column("seed", "seed", "seed", plain("seed")),
    Column("status", "status", "status", text("status"), left=True),
    Column("attempts", "attempts", "attempts", plain("attempts")),
    Column("evaluations", "evaluations", "evals", plain("evaluations")),
    Column("incumbent", "incumbent", "incumbent", plain("incumbent")),
    Column("reward_accuracy", "reward\nsplit, %", "reward, %", plain("reward_accuracy", 2)),
    Column("test_accuracy", "test\nsplit, %", "test, %", plain("test_accuracy", 2)),
    Column("finetuned_accuracy", "fine-\ntuned, %", "tuned, %", plain("finetuned_accuracy", 2), optional=True),
    Column("macs_kept", "MACs\nkept, %", "MACs, %", plain("macs_kept", 1)),
    Column("latency_kept", "latency\nkept, %", "latency, %", plain("latency_kept", 1)),
    Column("seconds", "time,\ns", "time, s", plain("seconds", 1)),
    Column("error", "error", "error", text("error"), left=True, optional=True),
)
_CAPTION = "Every run: how often it was begun, what it evaluated, its incumbent (the evaluation's number, from 0)."


def table(results: Results) -> Table:
    """A row per run, finished or not."""
    frame = results.runs
    told = rows(frame)
    return Table(NAME, "Runs", shown(_COLUMNS, told), told, frame, _CAPTION)

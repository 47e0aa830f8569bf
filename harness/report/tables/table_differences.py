"""Every agent against the reference, on the test split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prunebench.harness.analysis.comparison import NO_RUNS, SMALLEST_EFFECT, VARIES
from prunebench.harness.analysis.statistics.inference import ALPHA
from prunebench.harness.report.tables.tabular import AGENT, Column, Row, Table, interval, p_value, plain, rows, text

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.record.store import Experiment

NAME = "differences"
_SEVERAL = (
    "Of several tasks: values are divided by the spread of runs in each, so that tasks count alike, and differences "
    f"are means over tasks, weighted by that. {VARIES.capitalize()}: in these units the difference is not the same in "
    f"all of them (Welch's analysis of variance, 5 %), has both signs, and is more than {SMALLEST_EFFECT:g} points "
    "somewhere. What is shown speaks of these tasks, not of others."
)


def table(results: Results) -> Table | None:
    """Mean differences with what a test says of them; None where there is one agent."""
    frame, tasks = results.differences, len(results.readings)
    if len(results.agents) == 1:
        return None
    caption = (
        f"Accuracy on the test split: each agent minus {results.reference}. Welch's t-test, two-sided, Holm's "
        f"correction for {frame['p'].notna().sum()} comparisons, 5 %; the interval agrees with the corrected p. Equal: "
        f"all of it is within {SMALLEST_EFFECT:g} points. P(better): how often a run of the agent beats one of "
        f"{results.reference}, ties as halves."
    )
    notes = [_SEVERAL] * (tasks > 1) + list(_added(results))
    return Table(
        NAME, f"Against {results.reference}", _columns(tasks, "look" in frame), rows(frame), frame, caption, notes
    )


def _added(results: Results) -> Iterator[str]:
    """How seeds were added, where results were seen before."""
    parts = [part for experiment in results.experiments for part in experiment.parts or (experiment,)]
    looks = results.experiments[0].config.looks
    if looks and len(results.experiments) == 1:
        yield (
            f"Seeds were added until it was decided, at looks fixed beforehand ({', '.join(map(str, looks))} seeds). "
            f"Each may err in {100 * ALPHA / len(looks):.2g} % of experiments; a row is as of the look that decided "
            "it, and p is corrected for the looks."
        )
    elif any(part.config.looks for part in parts):
        yield "Seeds were added by what was seen, which p values of several experiments together do not allow for."
    for part in parts:
        yield from _grown(part)


def _grown(experiment: Experiment) -> Iterator[str]:
    """That an experiment was given more runs after its first session."""
    counts = {session.get("runs") for session in experiment.manifest().get("sessions", [])} - {None}
    if len(counts) > 1 and not experiment.config.looks:
        yield (
            f"Runs were added to the experiment in {experiment.folder.name} (it had {min(counts)}): if its results had "
            "been looked at before, p values do not allow for that."
        )


def _columns(tasks: int, looked: bool) -> Sequence[Column]:
    same = Column("interaction", "p, same in\nall tasks", "p, same", p_value("interaction_p"))
    return [
        AGENT,
        Column("runs", "runs", "runs", _runs),
        Column("difference", "difference,\npoints", "difference", _difference),
        Column("interval", "interval,\ncorrected", "interval", interval("corrected_low", "corrected_high", 2)),
        Column("p", "p", "p", p_value("p")),
        Column("p_holm", "p,\nHolm", "p, Holm", p_value("p_holm")),
        *([same, Column("tasks", "tasks", "tasks", plain("tasks"))] if tasks > 1 else []),
        Column("improvement", "P(better)", "P(better)", plain("probability", 2)),
        Column("verdict", "verdict", "verdict", text("verdict"), left=True),
        *([Column("look", "look at\nseeds", "look", plain("look"))] if looked else []),
    ]


def _runs(row: Row) -> str:
    """Of both, where they differ in that."""
    ours, theirs = row["runs"], row["reference_runs"]
    return f"{ours}" if ours == theirs else f"{ours} and {theirs}"


def _difference(row: Row) -> str:
    return "-" if row["verdict"] == NO_RUNS else f"{row['difference']:+.2f}"

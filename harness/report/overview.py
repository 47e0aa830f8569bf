"""An experiment as it is now, finished or not: for ``prunebench show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from prunebench.harness.experiments import spoken
from prunebench.harness.report.tables import table_list

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Recorded
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.record.store import Experiment

_HEADERS = ("agent", "seed", "status", "evaluations", "incumbent", "seconds", "attempts", "error")
_LONGEST = 80  # characters of an error: the whole of it is in the run's file


def text(results: Results) -> str:
    """Settings, the state of every run, and the table of one experiment.

    Raises:
        StoreError: a file of the experiment is damaged.
    """
    experiment, records = results.experiment, sorted(results.reading.records, key=lambda record: record.run.seed)
    rows = [_row(record, experiment.config.search_evaluations) for record in records]
    runs = tabulate(rows, _HEADERS, disable_numparse=True, colalign=_ALIGNED)
    return "\n\n".join([settings(experiment, [record.status.state for record in records]), runs, _table(results)])


_ALIGNED = ("left", "right", "left", "right", "right", "right", "right", "left")


def settings(experiment: Experiment, statuses: Sequence[str]) -> str:
    """Where the experiment is and what it compares, and what became of its runs, in a few lines."""
    *lines, last = spoken.settings(experiment.config)
    return "\n  ".join([str(experiment.folder), *lines, f"{last}: {_state(statuses)}"])


def _state(statuses: Sequence[str]) -> str:
    counts = {name: statuses.count(name) for name in dict.fromkeys(statuses)}
    return f"{len(statuses)} runs, {', '.join(f'{count} {name}' for name, count in counts.items())}"


def _row(record: Recorded, asked: int) -> list[str]:
    run, status, lines = record
    best = record.incumbent
    problem = str(status.error or "")
    return [
        run.agent,
        str(run.seed),
        status.state,
        f"{len(lines)}/{asked}",
        "-" if best is None else f"{100 * best.accuracy:.2f} %",
        f"{sum(line.seconds.total for line in lines):.1f}" if lines else "-",
        str(status.attempts),
        problem if len(problem) <= _LONGEST else f"{problem[: _LONGEST - 3]}...",
    ]


def _table(results: Results) -> str:
    if not results.experiment.manifest_path.is_file():
        return "no table yet: nothing was prepared"
    return "\n".join([table_list.render(results, "terminal"), *results.verdicts])

"""An experiment as it is now, finished or not: for ``prunebench show``."""

from __future__ import annotations

from tabulate import tabulate

from prunebench.harness.experiments import spoken
from prunebench.harness.record.journal import incumbent
from prunebench.harness.record.run import Run
from prunebench.harness.record.store import Experiment

_HEADERS = ("agent", "seed", "status", "evaluations", "incumbent", "seconds", "attempts", "error")
_LONGEST = 80  # characters of an error: the whole of it is in the run's file


def text(experiment: Experiment) -> str:
    """Settings, the state of every run, and the table.

    Raises:
        StoreError: a file of the experiment is damaged.
    """
    rows = [_row(run, experiment.config.evaluations) for run in experiment.runs()]
    runs = tabulate(rows, _HEADERS, disable_numparse=True, colalign=_ALIGNED)
    return "\n\n".join([settings(experiment), runs, _table(experiment)])


_ALIGNED = ("left", "right", "left", "right", "right", "right", "right", "left")


def settings(experiment: Experiment) -> str:
    """Where the experiment is and what it compares, in a few lines."""
    *lines, last = spoken.settings(experiment.config)
    return "\n  ".join([str(experiment.folder), *lines, f"{last}: {_state(experiment)}"])


def _state(experiment: Experiment) -> str:
    statuses = [run.checked().state for run in experiment.runs()]
    counts = {name: statuses.count(name) for name in dict.fromkeys(statuses)}
    return f"{len(statuses)} runs, {', '.join(f'{count} {name}' for name, count in counts.items())}"


def _row(run: Run, asked: int) -> list[str]:
    status = run.checked()
    lines = [] if status.state == "damaged" else run.lines()
    best = incumbent(lines)
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


def _table(experiment: Experiment) -> str:
    if not experiment.manifest_path.is_file():
        return "no table yet: nothing was prepared"
    from prunebench.harness.report import tables

    return tables.render(experiment, "terminal")

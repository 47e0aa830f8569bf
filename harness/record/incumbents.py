"""The incumbents that the runs of an experiment ended with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.errors import ConfigError

if TYPE_CHECKING:
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment


def finished(experiment: Experiment) -> list[Run]:
    """The runs that are done and have an incumbent.

    Raises:
        ConfigError: there is none.
    """
    statuses = [(run, run.checked()) for run in experiment.runs()]
    runs = [run for run, status in statuses if status.state == "done" and status.incumbent is not None]
    if not runs:
        raise ConfigError(f"experiment {str(experiment.folder)!r}: expected a finished run with an incumbent, has none")
    return runs


def incumbent(run: Run) -> Line:
    """The line of a finished run's incumbent."""
    number = run.status().incumbent
    assert number is not None
    return run.lines()[number]

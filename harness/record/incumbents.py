"""The incumbents that the runs of an experiment ended with."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from prunebench.envs.errors import check_choice
from prunebench.harness.errors import ConfigError

if TYPE_CHECKING:
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment


def finished(
    experiment: Experiment, agents: Collection[str] | None = None, seeds: Collection[int] | None = None
) -> list[Run]:
    """The runs that are done and have an incumbent; of these ``agents``, by their labels, and ``seeds`` alone.

    Raises:
        ConfigError: there is none.
        TaskError: an agent is none of the experiment's.
    """
    labels = [agent.label for agent in experiment.config.agents]
    for name in agents or ():
        check_choice("agent", name, labels)
    named = [run for run in experiment.runs() if agents is None or run.agent in agents]
    statuses = [(run, run.checked()) for run in named if seeds is None or run.seed in seeds]
    runs = [run for run, status in statuses if status.state == "done" and status.incumbent is not None]
    if not runs:
        what = "" if agents is None and seeds is None else " of these agents and seeds"
        raise ConfigError(
            f"experiment {str(experiment.folder)!r}: expected a finished run with an incumbent{what}, has none"
        )
    return runs


def incumbent(run: Run) -> Line:
    """The line of a finished run's incumbent."""
    number = run.status().incumbent
    assert number is not None
    return run.lines()[number]

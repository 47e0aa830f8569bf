"""The incumbents that the runs of an experiment ended with: after the search, or after its best were confirmed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunebench.harness.errors import ConfigError
from prunebench.harness.record import journal
from prunebench.harness.record.journal import Line

if TYPE_CHECKING:
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Confirmed
    from prunebench.harness.record.store import Experiment

_DIGITS = 12  # of an accuracy: what equal numbers of images make differ by rounding alone is equal


def candidates(lines: Sequence[Line], count: int) -> list[Line]:
    """The best ``count`` feasible and distinct policies; none where there is but one: nothing is to be chosen."""
    best: dict[tuple[int, ...], Line] = {}
    for line in sorted((line for line in lines if line.feasible), key=journal.rank):
        best.setdefault(tuple(line.channels), line)
    found = list(best.values())[:count]
    return found if len(found) > 1 else []


def pooled_accuracy(line: Line, again: Confirmed) -> float:
    """The accuracy on reward and confirm split together, which have as many images each."""
    return round((line.accuracy + again.accuracy) / 2, _DIGITS)


def chosen(lines: Sequence[Line], confirmed: Sequence[Confirmed]) -> Line | None:
    """The confirmed policy of the highest accuracy on both splits, of equals the lower loss, then the earlier.

    Where none were confirmed, the incumbent of the search.
    """
    if not confirmed:
        return journal.incumbent(lines)

    def order(again: Confirmed) -> tuple[bool, float, float, int]:
        line = lines[again.evaluation]
        loss = line.loss + again.loss
        finite = math.isfinite(loss)
        return not finite, -pooled_accuracy(line, again), loss if finite else 0.0, line.index

    return lines[min(confirmed, key=order).evaluation]


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

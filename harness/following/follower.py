"""What is new in the files of experiments, which it only reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prunebench.harness.record import store
from prunebench.harness.record.status import ENDED

if TYPE_CHECKING:
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status
    from prunebench.harness.record.store import Experiment

PAUSE = 2.0
"""Seconds between two looks."""
PATIENCE = 30.0
"""Seconds without anybody at work, after which runs count as left: a command takes some to begin, with its first
experiment and between two."""


class Seen(NamedTuple):
    """A run as it is on disk."""

    experiment: Experiment
    run: Run
    status: Status
    lines: list[Line]

    @property
    def over(self) -> bool:
        """Whether the run has come to an end, good or bad."""
        return self.status.state in (*ENDED, "damaged")


class Follower:
    """Looks at experiments again and again; a run's files are read where they have changed.

    Args:
        experiments: they may get more runs meanwhile.
    """

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self._experiments = list(experiments)
        self._marks: dict[Path, object] = {}
        self._over: dict[Path, bool] = {}

    def look(self) -> list[Seen]:
        """The runs whose files have changed since the last look; with the first look all of them.

        Raises:
            StoreError: the configuration of an experiment is damaged.
        """
        self._experiments = [store.load(each.folder) for each in self._experiments]
        runs = [(each, run) for each in self._experiments for run in each.runs()]
        self._over = {run.status_path: self._over.get(run.status_path, False) for _, run in runs}
        return [seen for experiment, run in runs for seen in self._changed(experiment, run)]

    def _changed(self, experiment: Experiment, run: Run) -> Iterator[Seen]:
        mark = _mark(run.status_path), _mark(run.lines_path)  # before they are read: what comes then is seen again
        if self._marks.get(run.status_path) != mark:
            self._marks[run.status_path] = mark
            seen = Seen(experiment, run, *run.read())
            self._over[run.status_path] = seen.over
            yield seen

    @property
    def over(self) -> int:
        """How many runs have come to an end."""
        return sum(self._over.values())

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._over)

    @property
    def busy(self) -> bool:
        """Whether some process is at work on any of the experiments."""
        return any(experiment.busy() for experiment in self._experiments)

    @property
    def left(self) -> str:
        """What is said where nobody is."""
        return (
            f"nobody is at work on these runs any more, and {self.total - self.over} of {self.total} are not over: the "
            "command that began them goes on with them"
        )


def until_over(follower: Follower, tell: Callable[[list[Seen]], None]) -> bool:
    """Look, and tell what is new, until every run has come to an end; False where nobody is at work on them before.

    Where the last one did so just now, it may have died and be begun again at once: one more look is taken.
    """
    tell(follower.look())
    settled, when = follower.over == follower.total, time.monotonic()
    while not settled:
        time.sleep(PAUSE)
        before = follower.over == follower.total
        news = follower.look()
        tell(news)
        settled = before and follower.over == follower.total
        if news or follower.busy:
            when = time.monotonic()
        elif not settled and time.monotonic() - when >= PATIENCE:
            return False
    return True


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

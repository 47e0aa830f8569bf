"""Runs, until each is done or has failed: begun again where a process died, waited for where another has them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from prunebench.harness.errors import BusyError, StoreError
from prunebench.harness.pace import Remaining
from prunebench.harness.processes.local import End, Event, Job
from prunebench.harness.record.status import ENDED, Problem, Status

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment

_LETTING_GO = 5.0  # seconds that a killed process may take to be gone
_POLL = 1.0  # seconds between two looks at runs that another process does


class Engine(Protocol):
    """What executes runs."""

    def run(self, jobs: list[Job], at_once: int | None) -> Iterator[Event | End]:
        """Run jobs and yield what they report; see :meth:`prunebench.harness.processes.local.Processes.run`."""


class Rounds:
    """Executes runs and settles what became of each.

    Args:
        experiment: whose runs.
        engine: executes them.
        make_job: of a run.
        at_once: runs at a time; None where the engine knows itself.
        attempts: how often a run may fail before it is not begun again.
        display: shows progress.
        others: how many runs of the same session came before these, and how many come after.

    Attributes:
        failed: runs that could not be finished, and why, in a line each.
    """

    def __init__(
        self,
        experiment: Experiment,
        engine: Engine,
        make_job: Callable[[Run], Job],
        *,
        at_once: int | None,
        attempts: int,
        display: Display,
        others: tuple[int, int] = (0, 0),
    ) -> None:
        self.failed: dict[str, str] = {}
        self._experiment, self._engine, self._make_job = experiment, engine, make_job
        self._at_once, self._attempts = at_once, attempts
        self._display, self._others = display, others
        self._remaining = Remaining(experiment.config.search_evaluations)
        self._failures: Counter[str] = Counter()  # of this call: an agent may reach the file that counts them

    def do(self, runs: list[Run]) -> None:
        """Do runs, in rounds: what has to be begun again, or was another process's, comes in a later one."""
        self._over, self._total = self._others[0], sum(self._others) + len(runs)
        self._tell_overall()
        todo = [run for run in runs if not self._given_up(run)]
        self._remaining.begin({run.name: run.agent for run in todo})
        while todo:
            again, busy = self._round(todo)
            todo = again or self._freed(busy)
            if again:
                todo += busy

    def _round(self, runs: list[Run]) -> tuple[list[Run], list[Run]]:
        """Runs to be begun again, and runs that another process does."""
        by_name = {run.name: run for run in runs}
        again: list[Run] = []
        busy: list[Run] = []
        for event in self._engine.run([self._make_job(run) for run in runs], self._at_once):
            run = by_name[event.name]
            if isinstance(event, Event):
                done, accuracy, replayed = event.values or (0, None, 0)
                evaluations = self._experiment.config.search_evaluations
                self._display.step(run.name, done, evaluations, incumbent_text(accuracy), replayed)
                self._remaining.step(run.name, done, replayed)
                self._tell_overall()
            elif event.cause == "busy":
                busy.append(run)
                self._display.end(run.name)
            elif event.cause == "died" and self._settle(run, event).failures < self._attempts:
                again.append(run)
                self._display.end(run.name, f"{run.name}: {event.problem}; it is begun again")
            else:
                self._end(run, event)
        return again, busy

    def _end(self, run: Run, end: End) -> None:
        problem = self._problem(run, end)
        self._over += 1
        self._remaining.end(run.name)
        self._tell_overall()
        if problem is not None:
            self.failed[run.name] = problem
        self._display.end(run.name, summary(run) if problem is None else f"{run.name}: failed: {problem}")

    def _tell_overall(self) -> None:
        left = None if self._others[1] else self._remaining.seconds()  # what comes after may be another network
        self._display.overall(self._over, self._total, left)

    def _problem(self, run: Run, end: End) -> str | None:
        """Why a run is not done, in one line; a process that was ended could not write that down itself."""
        status = run.checked() if end.problem is None else self._settle(run, end)
        if end.problem is None and status.state in ("failed", "timeout", "damaged"):
            return str(status.error)
        return end.problem

    def _settle(self, run: Run, end: End) -> Status:
        """The status of a run whose process did not live to write it, written down where that is possible."""
        status = _found(run)
        if status.state in ("waiting", "running"):
            self._failures[run.name] += 1
            status.state = "timeout" if end.cause == "time" else "failed"
            kind = _TYPES.get(end.cause, "Error")
            status.error = Problem(type=kind, message=end.problem or "", traceback=end.details)
            status.failures = max(status.failures + 1, self._failures[run.name])
            with suppress(OSError, BusyError):  # a full disk, another process: it is said at least
                _write(run, status)
        return status

    def _given_up(self, run: Run) -> bool:
        status = run.checked()
        if status.failures < self._attempts:
            return False
        reason = status.error.message if status.error else "its process died"
        self.failed[run.name] = (
            f"it has failed {status.failures} times ({reason}): --attempts {status.failures + 1} begins it again"
        )
        self._over += 1
        return True

    def _freed(self, busy: list[Run]) -> list[Run]:
        """Wait for runs of other processes; those that such a process left undone."""
        if busy:
            self._display.say(f"waiting for another process, which does {', '.join(run.name for run in busy)}")
        while busy and all(run.busy() for run in busy):
            time.sleep(_POLL)
        left = [run for run in busy if run.busy() or not self._ended_elsewhere(run)]
        for run in busy:
            if run not in left:
                self._end(run, End(run.name))
        return left

    def _ended_elsewhere(self, run: Run) -> bool:
        """Whether another process has come to an end with a run: what died there it will begin again itself."""
        status = run.checked()
        died = status.state == "failed" and status.error is not None and status.error.type == _TYPES["died"]
        return status.state in ENDED and not (died and status.failures < self._attempts)


def _found(run: Run) -> Status:
    """The status that a run's process left; where it has spoiled the file, as if there were none."""
    try:
        return run.mended()
    except StoreError as error:  # of another version: it was not when the run was begun
        return run.begin_status_afresh(error)


def _write(run: Run, status: Status) -> None:
    """Write a run's status; one that has just been killed may hold its lock until the kernel is through with it."""
    deadline = time.monotonic() + _LETTING_GO
    while run.busy() and time.monotonic() < deadline:
        time.sleep(0.05)
    run.amend_status(status)


_TYPES = {"died": "ProcessDied", "time": "TimeLimit", "memory": "MemoryLimit", "user": "Refused"}


def summary(run: Run) -> str:
    """A line about a run that is done."""
    status, lines = run.status(), run.lines()
    best = None if status.incumbent is None else lines[status.incumbent].accuracy
    notices = "".join(f"; {notice}" for notice in status.notices)
    return f"{run.name}: done, evaluations: {len(lines)}, {incumbent_text(best)}{notices}"


def incumbent_text(accuracy: float | None) -> str:
    """How an incumbent's accuracy is shown."""
    return "no incumbent yet" if accuracy is None else f"incumbent {100 * accuracy:.2f} %"

"""Progress on standard error: bars on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from prunebench.harness.pace import Pace, duration

if TYPE_CHECKING:
    from prunebench.envs.progress import Progress as Reported

_BETWEEN = 10.0  # seconds at least between two lines about the same thing
_RUNS = "runs"  # what the bar of all of them is called
_SILENCE = 60.0  # seconds after which a line is due though little has happened


class Display(Protocol):
    """Shows the progress of several pieces of work at once; ``what`` names each of them."""

    def __enter__(self) -> Display:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def step(self, what: str, done: int, total: int, note: str = "", replayed: int = 0) -> None:
        """Show that ``done`` of ``total`` steps are done, ``replayed`` of them from an earlier attempt."""

    def end(self, what: str, line: str = "") -> None:
        """Show that a piece of work is over; ``line`` stays, if there is one."""

    def overall(self, done: int, total: int, left: float | None = None) -> None:
        """Show that ``done`` of the command's ``total`` runs are over, and how many seconds the others still take."""


class Lines:
    """A display for logs: a line when a further quarter is done, but not often, and one after a long silence."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}  # when there was a line, and how many quarters were done
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._count = ""  # of runs, where it changed since the last line

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)

    def step(self, what: str, done: int, total: int, note: str = "", replayed: int = 0) -> None:
        """Print a line where one is due."""
        self._paces[what].step(done, replayed)
        now, quarter = time.monotonic(), 4 * done // max(total, 1)
        when, last_quarter = self._last.setdefault(what, (now, 0))
        due = (quarter > last_quarter and now - when >= _BETWEEN) or now - when >= _SILENCE
        if due and done < total:
            self._last[what] = (now, quarter)
            self.say(f"{what}: {', '.join(filter(None, [f'{done}/{total}', note, self._paces[what].text(total)]))}")

    def end(self, what: str, line: str = "") -> None:
        """Print the last line."""
        self._last.pop(what, None)
        self._paces.pop(what, None)
        if line:
            self.say(line + self._count)
            self._count = ""

    def overall(self, done: int, total: int, left: float | None = None) -> None:
        """Add the count to the next last line of a run."""
        self._count = f" ({', '.join(filter(None, [f'runs {done}/{total}', _left(left)]))})" if done else ""


class Bars:
    """A display for terminals: a bar for each piece of work; what is over becomes a line above them."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for what in list(self._tasks):
            self._remove(what)
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(escape(line), highlight=False, soft_wrap=True)

    def step(self, what: str, done: int, total: int, note: str = "", replayed: int = 0) -> None:
        """Move a bar, or begin one."""
        self._paces[what].step(done, replayed)
        self._move(what, done, total, ", ".join(filter(None, [note, self._paces[what].text(total)])))

    def end(self, what: str, line: str = "") -> None:
        """Replace a bar by a line."""
        self._remove(what)
        if line:
            self.say(line)

    def overall(self, done: int, total: int, left: float | None = None) -> None:
        """Move the bar of all runs, which goes with the last of them."""
        if done < total:
            self._move(_RUNS, done, total, _left(left))
        else:
            self._remove(_RUNS)

    def _move(self, what: str, done: int, total: int, note: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(escape(what), total=total, note="")
        self._progress.update(self._tasks[what], completed=done, total=total, note=note)

    def _remove(self, what: str) -> None:
        self._paces.pop(what, None)
        if what in self._tasks:
            self._progress.remove_task(self._tasks.pop(what))


def _left(seconds: float | None) -> str:
    return f"about {duration(seconds)} left" if seconds else ""


def watch(display: Display, *, told: bool = False) -> Reported:
    """Show what a process reports, which is over when all of it is done.

    Args:
        display: shows it.
        told: whether a line stays of what is done.
    """

    def step(what: str, done: int, total: int) -> None:
        display.step(what, done, total)
        if done >= total:
            display.end(what, f"{what}: done" if told else "")

    return step


def display() -> Display:
    """The display that suits standard error."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines()

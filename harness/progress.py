"""Progress on standard error: bars on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_BETWEEN = 10.0  # seconds at least between two lines about the same thing
_SILENCE = 60.0  # seconds after which a line is due though little has happened


class Display(Protocol):
    """Shows how far several things have come; ``what`` names each of them."""

    def __enter__(self) -> Display:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def say(self, line: str) -> None:
        """A line that stays."""

    def step(self, what: str, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` are done."""

    def end(self, what: str, line: str = "") -> None:
        """It is over; ``line`` stays, if there is one."""


class Lines:
    """For logs: a line when a further quarter is done, but not often, and one after a long silence."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}  # when there was a line, and how many quarters were done

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)

    def step(self, what: str, done: int, total: int, note: str = "") -> None:
        """Print a line where one is due."""
        now, quarter = time.monotonic(), 4 * done // max(total, 1)
        when, last_quarter = self._last.setdefault(what, (now, 0))
        due = (quarter > last_quarter and now - when >= _BETWEEN) or now - when >= _SILENCE
        if due and done < total:
            self._last[what] = (now, quarter)
            self.say(f"{what}: {done}/{total}{note and ', '}{note}")

    def end(self, what: str, line: str = "") -> None:
        """Print the last line."""
        self._last.pop(what, None)
        if line:
            self.say(line)


class Bars:
    """For terminals: a bar for each thing that is going on; what is over becomes a line above them."""

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

    def step(self, what: str, done: int, total: int, note: str = "") -> None:
        """Move a bar, or begin one."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(escape(what), total=total, note="")
        self._progress.update(self._tasks[what], completed=done, total=total, note=note)

    def end(self, what: str, line: str = "") -> None:
        """Replace a bar by a line."""
        self._remove(what)
        if line:
            self.say(line)

    def _remove(self, what: str) -> None:
        if what in self._tasks:
            self._progress.remove_task(self._tasks.pop(what))


def display() -> Display:
    """The one that suits standard error."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines()

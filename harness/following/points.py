"""What other tools are given of a run: a point per evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prunebench.harness.record.journal import Line, incumbent, rank

if TYPE_CHECKING:
    from pathlib import Path

    from prunebench.harness.following.follower import Seen


class Point(NamedTuple):
    """An evaluation: its number, when it ended (seconds since 1970), its scalars by name, and its line."""

    step: int
    time: float
    scalars: dict[str, float]
    line: Line


@dataclass(frozen=True)
class Written:
    """What a tool has of a run: the accuracies of its points, and whether it has the test accuracy."""

    accuracies: Sequence[float] = ()
    test: bool = False


class Writer(Protocol):
    """Writes runs for one tool. What it wrote can be read again: that is how nothing is written twice."""

    def __init__(self, out: Path) -> None:
        """Write into a folder, which is there."""

    opened_with: str
    """The command that shows what was written."""

    def written(self, name: str) -> Written:
        """What is there of a run."""

    def forget(self, name: str) -> None:
        """Remove what is there of a run, which was begun afresh."""

    def add(self, name: str, points: Sequence[Point], seen: Seen) -> None:
        """Write points of a run behind those that are there."""

    def end(self, name: str, test: Point, seen: Seen) -> None:
        """Write the test accuracy of a run that is done, at its last step."""


def points(seen: Seen) -> list[Point]:
    """A point for every evaluation of a run; the last one ended when its file was written.

    Their scalars: accuracy, loss, reward, incumbent (accuracy of the best feasible one so far, where there is one),
    cost (fraction of the dense network's), macs, parameters, feasible (0 or 1), seconds (of the search so far).
    """
    end = seen.run.lines_path.stat().st_mtime if seen.lines else 0.0
    left = sum(line.seconds.total for line in seen.lines)
    elapsed, best, found = 0.0, None, []
    for line in seen.lines:
        elapsed += line.seconds.total
        left -= line.seconds.total
        if line.feasible:
            best = line if best is None else min(best, line, key=rank)
        known = {} if best is None else {"incumbent": best.accuracy}
        found.append(Point(line.index, end - left, _scalars(line) | known | {"seconds": elapsed}, line))
    return found


def tested(seen: Seen) -> Point | None:
    """The test accuracy and loss, at the last step; None where a run is not done, or has no incumbent."""
    test = seen.status.test
    if seen.status.state != "done" or test is None:
        return None
    last = points(seen)[-1]
    best = incumbent(seen.lines, seen.status.confirmed) or last.line
    return Point(last.step, last.time, {"test_accuracy": test.accuracy, "test_loss": test.loss}, best)


def _scalars(line: Line) -> dict[str, float]:
    numbers = ("accuracy", "loss", "reward", "cost", "macs", "parameters", "feasible")
    return {name: float(getattr(line, name)) for name in numbers}

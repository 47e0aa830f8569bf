"""Writes what runs do into other tools, while they do it."""

from __future__ import annotations

import fcntl
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prunebench.envs.errors import check_choice
from prunebench.envs.files import make_folder
from prunebench.harness.errors import ConfigError
from prunebench.harness.following.follower import Follower, Seen, until_over
from prunebench.harness.following.points import Writer, Written, points, tested

if TYPE_CHECKING:
    from prunebench.harness.record.store import Experiment

TOOLS = ("tensorboard", "mlflow", "optuna")
"""Each has a module here, of the name ``to_<tool>``, with a class ``ToolWriter``."""
_LOCK = ".lock"
_SILENCE = 60.0  # seconds after which a line is said though no run has ended
_ROUNDING = 1e-6  # relative: TensorBoard's numbers have 32 bits


def track(experiments: Sequence[Experiment], tool: str, out: Path, say: Callable[[str], None]) -> bool:
    """Write every evaluation of experiments into a tool, until every run has come to an end.

    Returns False where nobody is at work on the runs before that.

    What is in ``out`` already is gone on from: no point is written twice. The experiments are only read.

    Args:
        experiments: finished or not.
        tool: one of :data:`TOOLS`.
        out: the folder that is written into, outside of every experiment.
        say: is told in a line what goes on.

    Raises:
        ConfigError: the tool is not installed, ``out`` is inside an experiment, or another process writes there.
        StoreError: the configuration of an experiment is damaged.
    """
    check_choice("to", tool, TOOLS)
    for experiment in experiments:
        if out.resolve().is_relative_to(experiment.folder.resolve()):
            raise ConfigError(f"out {str(out)!r} is inside the experiment {str(experiment.folder)!r}: name another")
    kind = _writer(tool)
    with _alone(out):
        writer = kind(out)
        say(f"writing into {out}, to be seen with: {writer.opened_with}")
        follower = Follower(experiments)
        whole = until_over(follower, _Tracker(writer, _above(experiments), follower, say).tell)
    if not whole:
        say(follower.left)
    return whole


class _Tracker:
    """Gives a writer what it does not have yet, and says so when a run has ended, or after a while."""

    def __init__(self, writer: Writer, above: Path, follower: Follower, say: Callable[[str], None]) -> None:
        self._writer, self._above, self._follower, self._say = writer, above, follower, say
        self._written: dict[str, Written] = {}
        self._count = 0
        self._over = -1  # what was said last, and when
        self._when = time.monotonic()

    def tell(self, news: Sequence[Seen]) -> None:
        """Write what is new."""
        self._count += sum(map(self._take, news))
        over, total = self._follower.over, self._follower.total
        if over != self._over or time.monotonic() - self._when >= _SILENCE:
            self._over, self._when = over, time.monotonic()
            self._say(f"evaluations written: {self._count}, runs over: {over} of {total}")

    def _take(self, seen: Seen) -> int:
        """Write what is new of a run; returns how many evaluations that were."""
        if not seen.lines:
            return 0
        inside = seen.experiment.folder.resolve().relative_to(self._above)
        name = "/".join([*inside.parts, seen.run.folder.name, f"seed-{seen.run.seed}"])
        there = self._written.get(name) or self._writer.written(name)
        accuracies = [line.accuracy for line in seen.lines]
        if not _begins(accuracies, there.accuracies):
            self._writer.forget(name)
            there = Written()
        new = points(seen)[len(there.accuracies) :]
        if new:
            self._writer.add(name, new, seen)
        test = tested(seen)
        if test is not None and not there.test:
            self._writer.end(name, test, seen)
        self._written[name] = Written(accuracies, there.test or test is not None)
        return len(new)


def _begins(accuracies: Sequence[float], there: Sequence[float]) -> bool:
    """Whether a run still begins with what was written of it."""
    close = (math.isclose(*pair, rel_tol=_ROUNDING) for pair in zip(accuracies, there, strict=False))
    return len(there) <= len(accuracies) and all(close)


def _above(experiments: Sequence[Experiment]) -> Path:
    """The folder that holds all experiments: runs are named from there."""
    parents = [experiment.folder.resolve().parent for experiment in experiments]
    return next(each for each in (parents[0], *parents[0].parents) if all(p.is_relative_to(each) for p in parents))


def _writer(tool: str) -> Callable[[Path], Writer]:
    try:
        module = importlib.import_module(f"prunebench.harness.following.to_{tool}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("prunebench"):
            raise
        raise ConfigError(f'to {tool!r}: {error.name} is not installed: pip install "prunebench[track]"') from None
    return cast(Callable[[Path], Writer], module.ToolWriter)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Be the only process that writes into a folder."""
    make_folder(out)
    with (out / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"out {str(out)!r}: another process writes there: name another folder") from None
        yield

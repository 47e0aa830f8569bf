"""Measures the pace of work, and how long it still takes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping

_WINDOW = 30  # the number of last steps that make the rate
_SHORTEST = 1.0  # seconds from which a rate can be told
_TELLING = 10.0  # seconds of runs from which the end of all can be told


class Pace:
    """The rate of the last steps. Those that were replayed from an earlier attempt took no time, and do not count."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)  # when, and how many were done

    def step(self, done: int, replayed: int = 0) -> None:
        """``done`` are done, ``replayed`` of them at no cost."""
        if self._marks and (done <= replayed or done < self._marks[-1][1]):  # the latter: begun afresh
            self._marks.clear()
        self._marks.append((time.monotonic(), done))

    @property
    def rate(self) -> float | None:
        """Steps per second; None while it is too early to tell."""
        if not self._marks:
            return None
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - begin) if end - begin >= _SHORTEST and last > first else None

    def text(self, total: int) -> str:
        """The rate and the time that is left, as ``3.9/s, 13 s left``; empty while it is too early to tell."""
        rate = self.rate
        if rate is None:
            return ""
        left = (total - self._marks[-1][1]) / rate
        return f"{rate:.0f}/s, {duration(left)} left" if rate >= 10 else f"{rate:.2g}/s, {duration(left)} left"


class Remaining:
    """How long runs still take, from what all evaluations of this call have taken so far.

    Args:
        evaluations: of a run; an agent whose last run took fewer will take fewer in the others.
    """

    def __init__(self, evaluations: int) -> None:
        self._evaluations = evaluations
        self._waiting: dict[str, str] = {}
        self._done: Counter[str] = Counter()  # evaluations, by run
        self._paid: Counter[str] = Counter()  # those of them that took time in this call
        self._lengths: dict[str, int] = {}  # evaluations of a run, by agent

    def begin(self, agents: Mapping[str, str]) -> None:
        """Runs are to be done from now on; ``agents`` by the runs' names."""
        self._began, self._waiting = time.monotonic(), dict(agents)

    def step(self, run: str, done: int, replayed: int) -> None:
        """So many of a run's evaluations are done, ``replayed`` of them at no cost."""
        self._done[run], self._paid[run] = done, max(0, done - replayed)

    def end(self, run: str) -> None:
        """A run is over."""
        agent = self._waiting.pop(run, None)
        if agent is not None and self._done[run]:
            self._lengths[agent] = self._done[run]

    def seconds(self) -> float | None:
        """What is left; None while it is too early to tell."""
        paid = self._paid.total()
        if not paid or (taken := time.monotonic() - self._began) < _TELLING:
            return None
        lengths = {run: self._lengths.get(agent, self._evaluations) for run, agent in self._waiting.items()}
        return taken / paid * sum(max(0, length - self._done[run]) for run, length in lengths.items())


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``13 s``, ``4 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"

"""Measures the pace of work, and how long it still takes."""

from __future__ import annotations

import time
from collections import deque

_WINDOW = 30  # the number of last steps that make the rate
_SHORTEST = 1.0  # seconds from which a rate can be told


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


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``13 s``, ``4 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"

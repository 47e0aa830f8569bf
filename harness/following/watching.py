"""Shows runs that another process does, as that process does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunebench.harness.experiments import spoken
from prunebench.harness.following.follower import Follower, Seen, until_over
from prunebench.harness.record.journal import incumbent
from prunebench.harness.running.rounds import incumbent_text, summary

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.record.store import Experiment


def watch(experiments: Sequence[Experiment], display: Display) -> bool:
    """Show how runs go on, until each has come to an end; False where nobody is at work on them before.

    Nothing is written.

    Raises:
        StoreError: the configuration of an experiment is damaged.
    """
    follower = Follower(experiments)
    whole = until_over(follower, _Watch(experiments, follower, display).tell)
    if not whole:
        display.say(follower.left)
    return whole


class _Watch:
    """Tells a display what is new; of runs that were over before, only how many."""

    def __init__(self, experiments: Sequence[Experiment], follower: Follower, display: Display) -> None:
        names = spoken.names([experiment.config for experiment in experiments])
        self._prefixes = {e.folder: f"{n}: " * (len(names) > 1) for e, n in zip(experiments, names, strict=True)}
        self._follower, self._display = follower, display
        self._begun = False
        self._over: set[str] = set()  # runs whose end is known

    def tell(self, news: Sequence[Seen]) -> None:
        """Show what has changed."""
        self._display.overall(self._follower.over, self._follower.total)
        if not self._begun:
            self._display.say(f"{self._follower.over} of {self._follower.total} runs are over")
        for seen in news:
            name = self._prefixes[seen.experiment.folder] + seen.run.name
            if seen.over and name not in self._over:
                self._end(name, seen)
            elif seen.status.state == "running":
                self._over.discard(name)
                self._step(name, seen)
        self._begun = True

    def _end(self, name: str, seen: Seen) -> None:
        self._over.add(name)
        done = seen.status.state == "done"
        text = summary(seen.run) if done else f"{seen.run.name}: {seen.status.state}: {seen.status.error}"
        self._display.end(name, self._prefixes[seen.experiment.folder] + text if self._begun else "")

    def _step(self, name: str, seen: Seen) -> None:
        best = incumbent(seen.lines)
        asked = seen.experiment.config.search_evaluations
        self._display.step(name, len(seen.lines), asked, incumbent_text(best.accuracy if best else None))

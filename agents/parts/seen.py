"""The policies that a run has evaluated: to ask for one of them again would tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from prunebench.envs.environment.budget import Budget, Counts

TRIES = 100  # before it is taken that there is no other policy
PER_SIZE = 10  # tries, after which exchanges become a channel larger


class Seen:
    """A set of realised policies, and a way to others near them.

    Args:
        budget: that policies are put on.
        rng: draws the exchanges.
    """

    def __init__(self, budget: Budget, rng: np.random.Generator) -> None:
        self._budget, self._rng = budget, rng
        self._policies: set[tuple[int, ...]] = set()

    def add(self, counts: Sequence[int]) -> None:
        """Remember channel counts ``(D,)``, an evaluation's ``channels``."""
        self._policies.add(tuple(counts))

    def __contains__(self, counts: ArrayLike) -> bool:
        return tuple(np.asarray(counts).tolist()) in self._policies

    def unseen(self, counts: Counts) -> Counts:
        """``counts`` ``(D,)`` where they are new; else new ones on budget about as few channels away as there are."""
        return self.first(lambda number: self._exchanged(counts, 1 + number // PER_SIZE) if number else counts)

    def first(self, draw: Callable[[int], Counts]) -> Counts:
        """The first new policy of ``draw(0)``, ``draw(1)`` and so on; ``draw(0)`` where many tries find none."""
        wanted = counts = draw(0)
        for number in range(1, TRIES):
            if counts not in self:
                return counts
            counts = draw(number)
        return wanted

    def _exchanged(self, counts: Counts, channels: int) -> Counts:
        """Some channels of one layer less and some of another more, then on budget."""
        other = counts.copy()
        giver, taker = self._rng.choice(len(counts), 2, replace=len(counts) == 1)
        other[giver] -= channels
        other[taker] += channels
        return self._budget.project(
            self._budget.ratios(np.clip(other, self._budget.lower_counts, self._budget.channels))
        )
